"""What can be counted in one file alone."""

from collections import Counter
from typing import Any

from data.audit.audited import AuditFile
from data.examples import UNKNOWN, VQAExample
from data.options import is_lettered, same_option
from data.priors.fitted import chance
from data.reading.families import RIGHT_TWICE
from data.repeats import repeats_of

_SHOWN_BAD_ROWS = 20


def file_facts(file: AuditFile) -> dict[str, Any]:
    """Return a file's rows, options, right letters, equal options and repeated rows."""
    rows = file.examples
    equal = [example for example in rows if has_equal_options(example)]
    lettered = [example for example in rows if is_lettered(example)]
    forms = Counter(example.form for example in rows)
    repeats = repeats_of(rows)
    return {
        "path": str(file.path),
        "part": file.part,
        "label": file.label,
        "axis": file.axis,
        "sha256": file.checksum,
        "rows": len(rows),
        "bad_rows": len(file.bad_rows),
        "bad_rows_shown": [str(row) for row in file.bad_rows[:_SHOWN_BAD_ROWS]],
        "images": len({image for images in file.images for image in images}),
        "option_counts": _sorted(Counter(len(example.options) for example in lettered)),
        "right_letters": _sorted(Counter(example.answer for example in lettered)),
        **({} if len(lettered) == len(rows) else {"forms": _sorted(forms)}),
        "chance": chance(rows),
        "equal_options": len(equal),
        "equal_options_rows": [example.id for example in equal],
        "right_option_repeated": sum(RIGHT_TWICE in row.reason for row in file.bad_rows),
        "repeated_rows": len(repeats.same) + len(repeats.contradicting),
        "unknown_modality": sum(example.modality == UNKNOWN for example in rows),
        "datasets": _sorted(Counter(example.dataset for example in rows)),
    }


def has_equal_options(example: VQAExample) -> bool:
    """Return whether two options are one text (`data.options.same_option`).

    They are wrong ones: a row whose right option stands twice is a bad row.
    """
    return len(set(map(same_option, example.options))) < len(example.options)


def _sorted(counts: Counter) -> dict[str, int]:
    return {str(key): counts[key] for key in sorted(counts)}
