"""Rows in a few lines: their files and formats, kinds of answers, slices, images, lengths."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from data.examples import VQAExample
from data.faults import missing_images
from data.options import is_lettered
from data.published import where_published
from data.reading.labels import official_split
from data.repeats import repeats_of, shared_by
from data.source import Part
from data.sources import Split
from evaluation.data_check.lengths import PromptLengths
from process.shown import shown_line

_WORDS = {"modality": "modality", "question_type": "question type", "dataset": "data set"}
_LISTED = 8  # values of a slice; the rest is counted
_NAMES = 5  # of missing images


def first_lines(
    splits: Mapping[Part, Split], lengths: Mapping[Part, PromptLengths], eval_limit: int = 0
) -> list[str]:
    """Return what the first lines of a run say: two for each part, more where something is odd."""
    lines = []
    for part, split in splits.items():
        kinds = _forms(split.examples)
        images = _counted("image", (len(example.images) for example in split.examples))
        head = f"{part}: {_rows(split, part, eval_limit)}; answered by {kinds}; {images}"
        lines += [head, f"  {lengths[part]}"]
        lines += [f"  {line}" for line in _repeats(split.examples)]
        lines += [f"  {line}" for line in _tested_on(part, split.examples)]
    return [*lines, *_overlap(splits)]


def all_lines(
    splits: Mapping[Part, Split], lengths: Mapping[Part, PromptLengths], eval_limit: int = 0
) -> list[str]:
    """Return what --check-data and --dry-run say of the data."""
    lines = ["Data"]
    for part, split in splits.items():
        lines += [f"  {part}: {_rows(split, part, eval_limit)}"]
        lines += [f"    {line}" for line in _described(split, lengths[part])]
        lines += [f"    {line}" for line in _tested_on(part, split.examples)]
    found = list(_overlap(splits))
    if all(split.examples for split in splits.values()) and len(splits) > 1 and not found:
        found = ["no row of eval shows an image of train"]
    return lines + [f"  {line}" for line in found]


def _rows(split: Split, part: str, eval_limit: int) -> str:
    names = list(split.checksums)
    files = shown_line(names[0]) if len(names) == 1 else f"{len(names)} files"
    bad = f", {len(split.bad_rows):,} bad ones beside them" if split.bad_rows else ""
    asked = ""
    if part != "train" and 0 < eval_limit < len(split.examples):
        asked = f", a sample of {eval_limit:,} is asked"
    return f"{len(split.examples):,} rows of {files}{bad}{asked}"


def _described(split: Split, lengths: PromptLengths) -> Iterator[str]:
    bad = Counter(row.file for row in split.bad_rows)
    for name, count in split.counts.items():
        wrong = f", {bad[name]:,} bad" if bad[name] else ""
        yield f"file {shown_line(name)}: {count:,} rows{wrong}"
    if split.examples:
        yield from _rows_of(split.examples)
    yield from _missing(split)
    yield str(lengths)
    if (text := lengths.what_fits()) is not None:
        yield text


def _rows_of(examples: Sequence[VQAExample]) -> Iterator[str]:
    families = Counter(example.family for example in examples if example.family)
    if families:
        yield f"published form: {_listed(families)}"
    yield f"answered by: {_forms(examples)}"
    for name in _WORDS:
        counts = Counter(getattr(example, name) for example in examples)
        yield f"{_WORDS[name]}: {_listed(counts)}"
    if lettered := [example for example in examples if is_lettered(example)]:
        options = _counted("option", (len(example.options) for example in lettered))
        others = len(examples) - len(lettered)
        yield f"{options}, none with letters in {others:,} rows" if others else options
    yield _counted("image", (len(example.images) for example in examples))
    yield from _repeats(examples) or ["no row stands twice"]


def _tested_on(part: str, examples: Sequence[VQAExample]) -> Iterator[str]:
    """Yield a line where rows are trained on that their own source tests on."""
    count = sum(official_split(example.fields) == "test" for example in examples)
    if count and part == "train":
        yield (
            f"{count:,} of {len(examples):,} rows are of their data set's own test part, which they"
            " are no test of once they are trained on: --only train:split=train leaves them out"
        )


def _forms(examples: Iterable[VQAExample]) -> str:
    counts = Counter(example.form.replace("_", " or ") for example in examples)
    return _listed(counts) if len(counts) != 1 else next(iter(counts))


def _listed(counts: Mapping[str, int]) -> str:
    """Return names with their numbers, the commonest first.

    >>> _listed({"MRI": 2, "CT": 1000})
    'CT 1,000, MRI 2'
    """
    ranked = Counter(counts).most_common()
    said = [f"{shown_line(str(name))} {count:,}" for name, count in ranked[:_LISTED]]
    more = [f"and {len(ranked) - _LISTED:,} more"] if len(ranked) > _LISTED else []
    return ", ".join(said + more)


def _counted(what: str, numbers: Iterable[int]) -> str:
    """Return how many rows have how many of something.

    >>> _counted("image", [1, 1, 0]), _counted("option", [4, 4])
    ('0 images in 1 rows, 1 image in 2 rows', '4 options each')
    """
    counts = Counter(numbers)
    said = {number: f"{number} {what}{'s' * (number != 1)}" for number in sorted(counts)}
    if len(counts) == 1:
        return f"{next(iter(said.values()))} each"
    return ", ".join(f"{text} in {counts[number]:,} rows" for number, text in said.items())


def _repeats(examples: Sequence[VQAExample]) -> list[str]:
    found, lines = repeats_of(examples), []
    for pairs, what in ((found.same, "its key"), (found.contradicting, "another key")):
        if pairs:
            earlier, later = map(shown_line, pairs[0])
            lines.append(
                f"{len(pairs):,} rows ask an earlier row's question about its images, with {what}:"
                f" {later} that of {earlier}"
            )
    return lines


def _missing(split: Split) -> Iterator[str]:
    missing = missing_images(split.bad_rows)
    if missing:
        names = ", ".join(map(shown_line, missing[:_NAMES])) + ", ..." * (len(missing) > _NAMES)
        yield f"{len(missing):,} image files are missing: {names}"
        for one in where_published([*missing, *split.checksums]):
            yield f"  {one.name}: {one.where}"


def _overlap(splits: Mapping[Part, Split]) -> Iterator[str]:
    if "train" in splits and "eval" in splits:
        examples = splits["eval"].examples
        shared = shared_by(examples, splits["train"].examples)
        if shared.same_image:
            yield (
                f"{shared.same_image:,} of {len(examples):,} rows of eval show an image of train,"
                f" {shared.same_question:,} with the same question (python -m data.audit)"
            )
