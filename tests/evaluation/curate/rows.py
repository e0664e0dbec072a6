"""Rows that could be curated."""

from pathlib import Path

from data.examples import VQAExample


def row(number, answer="A", options=("x", "y", "z"), image=None, modality="CT", form="letter"):
    images = (Path(image or f"{number}.png"),)
    return VQAExample(f"r-{number}", images, "Which?", options, answer, modality, "Any", form=form)
