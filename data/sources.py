"""What ``--train-json`` and ``--eval-json`` name: published files, or the embedded phantoms."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.examples import VQAExample
from data.faults import Fault, FindFaults, missing_hint
from data.named import named_files
from data.reading.bad_rows import BadRow, bad_rows_report
from data.reading.bad_rows_file import note_bad_rows
from data.reading.only import Only
from data.source import Part, Source, read_source, row_number
from process.memory import during


@dataclass(frozen=True)
class Split:
    """All examples of one flag's sources, what was skipped, and what the sources held."""

    examples: list[VQAExample]
    bad_rows: list[BadRow]  # left out by skip_bad_rows: the caller says how many
    checksums: dict[str, str]  # source's name -> SHA-256 of its content
    # of the bad rows those with a fault, by their source's SHA-256: a resumed run leaves out the
    # same ones, whatever became of their images
    left_out: dict[str, list[int]] = field(default_factory=dict)
    # what a resumed run had among its examples and would be at fault today
    gone_bad: list[BadRow] = field(default_factory=list)
    stems: list[str] = field(default_factory=list)  # what the ids of each source begin with
    counts: dict[str, int] = field(default_factory=dict)  # rows of each source, bad ones too
    # which rows were asked for, and how many were not
    only: Only = field(default_factory=Only, compare=False)


class BadRowsError(ValueError):
    """Rows that may not be left out, or a source of which none would be left."""

    def __init__(self, message: str, splits: "Mapping[Part, Split]") -> None:
        super().__init__(message)
        self.splits = splits  # without them


@dataclass(frozen=True)
class Wanted:
    """What one flag asks for."""

    # files and folders, ``phantoms``, ``phantoms:CT``, ``phantoms:Lesion Grading``
    names: Sequence[str]
    find_faults: FindFaults | None = None  # looks at images and prompts; None looks at nothing
    # Of a run that is resumed, its own split's: only these rows are left out for a fault, and none
    # is a reason to stop, or the others would come in another order.
    left_out: Mapping[str, Collection[int]] | None = None
    stems: Sequence[str] | None = None  # and what its ids begin with, whatever a file is called now


def load_split(
    names: Sequence[str],
    *,
    part: Part,
    image_root: str | Path | None,
    skip_bad_rows: bool = False,
    find_faults: FindFaults | None = None,
    only: Sequence[str] = (),
) -> Split:
    """Return the examples of several sources, one after the other; see `load_splits`."""
    wanted = {part: Wanted(names, find_faults)}
    splits = load_splits(wanted, image_root=image_root, skip_bad_rows=skip_bad_rows, only=only)
    return splits[part]


@during("reading the data", "read fewer rows at a time, of fewer files")
def load_splits(
    wanted: Mapping[Part, Wanted],
    *,
    image_root: str | Path | None,
    skip_bad_rows: bool = False,
    only: Sequence[str] = (),
) -> dict[Part, Split]:
    """Return the examples of each part's sources, read before any of their images is looked at.

    Args:
        wanted: by part, since phantoms have a training and a held-out part.
        image_root: the folder under which the files' image paths begin; None where there are none,
            as in phantoms, questions in words alone, and files that hold their images.
        skip_bad_rows: leave out rows that are wrong or at fault and list them, instead of raising.
        only: FIELD=VALUE: which rows are read, see data/reading/only.py; others are not there.

    Raises:
        ValueError: no name; a folder without files; no row that is asked for; a file with image
            paths and no image root, or that cannot be read; two sources that would give two
            examples one id.
        BadRowsError: bad rows of all files together, the first ones named, or a file of which no
            row is left.
    """
    asked = {part: Only(only, part) for part in wanted}
    sources = {part: _read_sources(wanted[part], part, image_root, asked[part]) for part in wanted}
    faults = {part: _find_faults(sources[part], wanted[part]) for part in wanted}
    splits = {
        part: _split(sources[part], faults[part], wanted[part].left_out, asked[part])
        for part in wanted
    }
    _check_rest(wanted, sources, faults, splits, skip_bad_rows)
    return splits


def _read_sources(
    wanted: Wanted, part: Part, image_root: str | Path | None, only: Only
) -> list[Source]:
    names = wanted.names
    if not names:
        raise ValueError(f"no {part} data is named: pass data files, folders of them, or phantoms")
    files = named_files(names)
    stems = [file.stem for file in files] if wanted.stems is None else wanted.stems
    if len(stems) != len(files):
        raise ValueError(
            f"the {part} data is {len(files)} files now ({', '.join(file.name for file in files)}),"
            f" and was {len(stems)} when the run began ({', '.join(stems)}): name the same ones, or"
            " restore the folder"
        )
    sources = [
        read_source(file.name, stem, part, image_root, only)
        for file, stem in zip(files, stems, strict=True)
    ]
    only.check_some(f"the {part} data")
    _check_ids([example for source in sources for example in source.examples])
    return sources


def _find_faults(sources: Sequence[Source], wanted: Wanted) -> dict[str, Fault]:
    examples = [example for source in sources for example in source.examples]
    return {} if wanted.find_faults is None else dict(wanted.find_faults(examples))


def _check_rest(
    wanted: Mapping[Part, Wanted],
    sources: Mapping[Part, Sequence[Source]],
    faults: Mapping[Part, Mapping[str, Fault]],
    splits: Mapping[Part, Split],
    skip_bad_rows: bool,
) -> None:
    """Raise if there are bad rows that may not be skipped, or a source of which none is left."""
    bad: list[BadRow] = []
    stops = False
    for part in wanted:
        found = [row for source in sources[part] for row in source.bad_rows]
        found += _rows_with(faults[part], sources[part])
        bad += found
        stops |= bool(found) and not skip_bad_rows and wanted[part].left_out is None
    bad = list(dict.fromkeys(bad))  # one file may be of both parts
    note_bad_rows(bad)
    counts = {source.label: source.count for part in wanted for source in sources[part]}
    num_bad = Counter(row.file for row in bad)
    if stops or any(0 < num_bad[name] == counts[name] for name in counts):
        report = bad_rows_report(bad, counts, _missing_hint(bad, sources))
        raise BadRowsError(report, splits)


def _missing_hint(bad: Sequence[BadRow], sources: Mapping[Part, Sequence[Source]]) -> str:
    images = (
        image
        for some in sources.values()
        for source in some
        for example in source.examples
        for image in example.images
    )
    return missing_hint(bad, len({image for image in images if isinstance(image, Path)}))


def _split(
    sources: Sequence[Source],
    faults: Mapping[str, Fault],
    left_out: Mapping[str, Collection[int]] | None,
    only: Only,
) -> Split:
    if left_out is None:
        left_out = {
            source.checksum: [row_number(e) for e in source.examples if e.id in faults]
            for source in sources
        }
    skipped: dict[str, Fault] = {}
    for source in sources:
        rows = set(left_out.get(source.checksum, ()))
        for example in source.examples:
            if row_number(example) in rows:
                mended = Fault("", "was left out when the run began")
                skipped[example.id] = faults.get(example.id, mended)
    gone_bad = {name: fault for name, fault in faults.items() if name not in skipped}
    bad_rows = [row for source in sources for row in source.bad_rows]
    return Split(
        examples=[e for source in sources for e in source.examples if e.id not in skipped],
        bad_rows=bad_rows + _rows_with(skipped, sources),
        checksums={source.name: source.checksum for source in sources},
        left_out={checksum: list(rows) for checksum, rows in left_out.items() if rows},
        gone_bad=_rows_with(gone_bad, sources),
        stems=[source.stem for source in sources],
        counts={source.label: source.count for source in sources},
        only=only,
    )


def _rows_with(faults: Mapping[str, Fault], sources: Sequence[Source]) -> list[BadRow]:
    return [row for source in sources for row in source.rows_with(faults)]


def _check_ids(examples: Sequence[VQAExample]) -> None:
    sources: dict[str, str] = {}
    for example in examples:
        if example.id in sources:
            raise ValueError(
                f"two examples have the id {example.id}, from {sources[example.id]} and"
                f" {example.source}: name each source once, and rename one of two files of one name"
            )
        sources[example.id] = example.source
