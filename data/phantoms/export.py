"""The phantoms as files in the format in which Med-R1 publishes its splits."""

import json
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from data.examples import MODALITIES, QUESTION_TYPES, VQAExample
from data.images import decode
from data.phantoms.parts import phantom_examples
from process.bars import bar
from process.storage import write_text
from rewards.forms import FORMS

# part: what Med-R1 calls it in the names of its files
_SUFFIXES = {"train": "train", "heldout": "test"}


def write_phantoms(
    directory: Path,
    rows_per_cell: int | None = None,
    *,
    asked: str = "letter",
    progress: bool = False,
) -> list[Path]:
    """Write images and JSON files, and return the JSON files' paths.

    ``modality/CT_train.json`` and ``question_type/Lesion Grading_train.json`` cut the same rows in
    two ways, as Med-R1's splits do; image paths are relative to ``directory``, the image root.
    ``asked`` is the way of asking; a cut of which there are no rows has no file.
    ``progress`` shows a bar: some 7,000 images take a minute or more.
    """
    written = []
    parts = {
        part: phantom_examples(part, asked=asked, rows_per_cell=rows_per_cell) for part in _SUFFIXES
    }
    total = sum(map(len, parts.values()))
    with bar(total=total, desc="drawing", unit="image", disable=not progress) as images:
        for examples in parts.values():
            for example in examples:
                path = directory / image_path(example)
                path.parent.mkdir(parents=True, exist_ok=True)
                decode(example.images[0]).save(path)
                images.update()
    for part, suffix in _SUFFIXES.items():
        examples = parts[part]
        for folder, names, attribute in (
            ("modality", MODALITIES, "modality"),
            ("question_type", QUESTION_TYPES, "question_type"),
        ):
            for name in names:
                rows = [row for row in examples if getattr(row, attribute) == name]
                if rows:
                    written.append(_write_rows(directory / folder / f"{name}_{suffix}.json", rows))
    return written


def image_path(example: VQAExample) -> str:
    """Return where the image stands, relative to the image root."""
    return f"Images/{example.image_names[0]}"


def published_row(example: VQAExample) -> dict[str, str]:
    """Return the example as Med-R1 writes a row: options in-line, the letter in answer tags.

    Without letters there are no options, and the answer stands in the tags in words.
    """
    shown = zip(ascii_uppercase, example.options if example.form == "letter" else (), strict=False)
    inline = ", ".join(f"{letter}){text}" for letter, text in shown)
    return {
        "image": image_path(example),
        "problem": f"{example.question} {inline}".rstrip(),
        "solution": f"<answer> {FORMS[example.form].written(example)} </answer>",
    }


def _write_rows(path: Path, examples: Sequence[VQAExample]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [published_row(example) for example in examples]
    write_text(path, json.dumps(rows, indent=1) + "\n")
    return path
