"""Rows for the tests of text priors and of the audit."""

import json
from pathlib import Path

from data.examples import VQAExample


def example(question: str, options: list[str], answer: str, **fields) -> VQAExample:
    """One example about ``image.png``; only what a test is about needs to be said."""
    fields = {"id": "row", "images": (Path("image.png"),)} | fields
    return VQAExample(question=question, options=tuple(options), answer=answer, **fields)


def row(image: str, question: str, options: list[str], answer: str) -> dict:
    """One row as Med-R1 publishes it."""
    listed = ", ".join(f"{letter}){text}" for letter, text in zip("ABCD", options, strict=False))
    return {
        "image": image,
        "problem": f"{question} {listed}",
        "solution": f"<answer> {answer} </answer>",
    }


def write_rows(file: Path, rows: list) -> Path:
    """Write a data file; returns its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file
