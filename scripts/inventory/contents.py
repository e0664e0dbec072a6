"""What a written file holds beside its values: the keys of JSON, the headings of a page.

Names that come from the data are made one: slices, letters, numbers. What is left is the form.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SLICES = (
    *("CT", "MRI", "X-Ray", "Ultrasound", "Dermoscopy", "Fundus", "OCT", "Microscopy"),
    *("Anatomy Identification", "Disease Diagnosis", "Lesion Grading", "Modality Recognition"),
    "Other Biological Attributes",
)
_OF_TRANSFORMERS = (
    *("config.json", "generation_config.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
)
TOP = "."  # what the outermost keys of a file stand in
_SLICE = "|".join(re.escape(name).replace(r"\ ", "[ -]") for name in _SLICES)
_FORMS = (
    (rf"(?<![A-Za-z])(?:{_SLICE})(?![A-Za-z])", "<slice>"),
    (r"(?<![A-Za-z\d])\d+(?![A-Za-z])", "<n>"),
    (r"^[A-Z]$", "<letter>"),
)


def form(text: str) -> str:
    """Return a name without what the data put into it: `CT_train.json` is `<slice>_train.json`."""
    for pattern, stands_for in _FORMS:
        text = re.sub(pattern, stands_for, text)
    return text


def contents(file: Path) -> set[tuple[str, str]]:
    """Return what a file is made of, each entry with what it stands in.

    Nothing for what is the libraries' own: pictures, a tokenizer, a model's config.json.
    """
    read = None if file.name in _OF_TRANSFORMERS else _READERS.get(file.suffix)
    return set(read(file)) if read else set()


def _json(file: Path) -> Iterator[tuple[str, str]]:
    yield from _keys(json.loads(file.read_text(encoding="utf-8")), TOP)


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield from _keys(json.loads(line), TOP)


def _keys(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every key with the keys around it, joined by dots; [] stands for a list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = form(key)
            yield place, name
            yield from _keys(inner, name if place == TOP else f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, f"{place}[]")


def _tensors(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the tensors' names: eight bytes of length, then a JSON header."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    yield from (("tensors", form(name)) for name in header)


def _page(file: Path) -> Iterator[tuple[str, str]]:
    text = file.read_text(encoding="utf-8")
    for tag, words in re.findall(r"<(h2|th|figcaption)\b[^>]*>([^<]+)", text):
        yield tag, form(words.strip())


def _markdown(file: Path) -> Iterator[tuple[str, str]]:
    text = file.read_text(encoding="utf-8")
    for tag, words in re.findall(r"^(#+) (.*)", text, re.MULTILINE):
        yield tag, form(words)
    for cells in re.findall(r"^\|(.*)\|\n\| ?:?---", text, re.MULTILINE):
        yield from (("cells", form(cell.strip())) for cell in cells.split("|"))


_READERS = {
    ".json": _json,
    ".jsonl": _lines,
    ".safetensors": _tensors,
    ".html": _page,
    ".md": _markdown,
}
