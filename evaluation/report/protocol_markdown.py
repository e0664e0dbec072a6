"""protocol.md: what was run, how to read the numbers, and the tables of every axis."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.protocol_tables import TITLES, Block, Heading, axis_blocks
from process.tables.markdown import markdown_line, markdown_table
from process.tables.value import Code, Emphasis, Line, Strong, Table

_KINDS = ("sft", "grpo")
_SHOWN = 10  # missing runs or cells that are named

CAUTION: Line = (
    Strong("Caution."),
    " The embedded base model was made on phantoms of all eight modalities and all five"
    " question types, so no slice is new to it: here, generalising means that what is learned on"
    " one slice carries over to slices that the base has seen, not to unseen ones. Its ",
    Code("no_think"),
    " and ",
    Code("think_after"),
    " answers do not look at the image to begin with (docs/embedded.md).",
)


def protocol_markdown(result: Mapping[str, Any]) -> str:
    """Return the page of a protocol.json as Markdown."""
    blocks: list[Block] = [Heading("Protocol", 1), *about_blocks(result)]
    for name, axis in result["axes"].items():
        blocks += [Heading(TITLES.get(name, name), 2), *axis_blocks(axis)]
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {markdown_line(block.text)}"
    return markdown_table(block) if isinstance(block, Table) else markdown_line(block)


def about_blocks(result: Mapping[str, Any]) -> list[Block]:
    """Return what was run, what is missing, and how to read the numbers."""
    blocks: list[Block] = [_about(result)]
    if not result["complete"]:
        blocks.append(_missing(result["missing"]))
    if result["protocol"]["model"] in ("tiny", "tiny_open"):
        blocks.append(CAUTION)
    how = (
        "Accuracies are greedy and strict, in per cent; macro means: every cell weighs the same. ",
        Emphasis("blank"),
        ": the same rows with nothing to see on their images; ",
        Emphasis("gain"),
        ": what the image adds, accuracy minus blank. Brackets: 95 % intervals over test rows,"
        f" {_by_image(result)}; they say nothing about another seed of training, which stands"
        " apart below. ",
        Strong("Bold"),
        ": the interval leaves out 0. No interval or p value is corrected for"
        " the number of comparisons.",
    )
    return [*blocks, how]


def _by_image(result: Mapping[str, Any]) -> str:
    drawn = f"{result['resamples']:,} resamples drawn by image"
    few = result.get("few_images")  # absent: of a version that resampled any number
    return drawn if few is None else f"{drawn} (up to {few} images a slice: Student's t by image)"


def _about(result: Mapping[str, Any]) -> Line:
    protocol, machine = result["protocol"], result["machine"]
    length = f"{protocol['steps']} steps" if protocol["steps"] else f"{protocol['epochs']:g} epochs"
    limit = f"{protocol['test_limit']:,} rows" if protocol["test_limit"] else "all rows"
    gpus = ", ".join(machine["gpus"]) or f"CPU, {machine['threads']} threads"
    versions = result["versions"]
    settings = ", ".join(
        f"{name} {value}" for name, value in protocol["settings"].items() if name not in _KINDS
    )
    own = [
        f"{kind}: {', '.join(f'{k} {v}' for k, v in protocol['settings'][kind].items())}"
        for kind in _KINDS
        if protocol["settings"][kind]
    ]
    return (
        Code(f"train.py --protocol {protocol['file']}"),
        f": model {protocol['model']}, methods"
        f" {', '.join(protocol['methods'])}, {length} each, seeds"
        f" {', '.join(map(str, protocol['seeds']))}, {limit} of each test file"
        f" ({len(result['runs'])} runs). Settings: {'; '.join([settings, *own])}."
        f" torch {versions['torch']}, transformers {versions['transformers']}, {gpus}.",
    )


def _missing(missing: Mapping[str, Sequence[str]]) -> Line:
    parts = []
    for kind, names in missing.items():
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", .." if len(names) > _SHOWN else "")
            parts.append(f"{len(names)} {kind} are missing ({shown})")
    return Strong("Not complete"), f": {'; '.join(parts)}. Means are over the cells that are there."
