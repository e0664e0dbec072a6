"""The first rows as the model is going to see them, and as their answers will be judged."""

from collections.abc import Iterator, Sequence

from data.examples import VQAExample
from evaluation.asking.preflight import Preflight
from process.shown import shown, shown_line
from rewards.forms import FORMS

SHOWN = 3
_LONGEST = 4000  # characters of a prompt; one that is longer is cut in its middle


def first_row_lines(part: str, examples: Sequence[VQAExample], preflight: Preflight) -> list[str]:
    """Return the first rows that can be asked: images, prompt with the chat template, key."""
    rows = examples[:SHOWN]
    if not rows:
        return []
    lines = [f"The first {len(rows)} rows of {part} as the model sees them"]
    for example in rows:
        lines.append(f"  {shown_line(example.id)}")
        lines += [f"    {line}" for line in _row(example, preflight)]
    return lines


def _row(example: VQAExample, preflight: Preflight) -> Iterator[str]:
    check, sizes = preflight.checks[0], preflight.sizes(example)
    seen = check.seen(sizes)
    for name, own, (size, tokens) in zip(example.image_names, sizes, seen, strict=True):
        yield (
            f"image {shown_line(name)}: {own[0]} x {own[1]} pixels, seen as {size[0]} x {size[1]},"
            f" {tokens:,} visual tokens"
        )
    if not example.images:
        yield "no image"
    text = check.written(example)
    if (more := len(text) - _LONGEST) > 0:
        half = _LONGEST // 2
        text = f"{text[:half]}\n[{more:,} characters are not shown]\n{text[-half:]}"
    yield from (f"| {line}" for line in shown(text).splitlines())
    yield f"key: {judged(example)}"


def judged(example: VQAExample) -> str:
    """Return what counts as a right answer, on one line."""
    texts = [FORMS[example.form].written(example), *example.accepted]
    key = " or ".join(map(shown_line, dict.fromkeys(texts)))
    if example.answer_text not in texts:
        key += f" ({shown_line(example.answer_text)})"
    tolerances = []
    if example.absolute_tolerance:
        tolerances.append(f"{example.absolute_tolerance:g}")
    if example.relative_tolerance:
        tolerances.append(f"{example.relative_tolerance:.3%} of it")
    within = f", within {' or '.join(tolerances)}" if tolerances else ""
    return f"{key}{within}, as {example.form.replace('_', ' or ')}"
