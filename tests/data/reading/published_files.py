"""The made-up files of ../shared/formats as the tests read them."""

import json
from pathlib import Path

import pytest

from data.examples import VQAExample
from data.reading.readers import read_examples
from tests.places import SHARED

FORMATS = SHARED / "formats"


def published(name: str, folder: Path) -> list[VQAExample]:
    """Return the examples of one file, whose rows are put into a JSON list in a folder."""
    if not FORMATS.is_dir():
        pytest.skip(f"no {FORMATS}")
    text = (FORMATS / name).read_text(encoding="utf-8")
    lines = name.endswith(".jsonl")
    rows = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    path = folder / f"{Path(name).stem}.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read_examples(path, FORMATS / "images")[0]
