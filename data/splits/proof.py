"""What was written, read back: rows as they were meant, and nothing in both parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.examples import VQAExample
from data.patients import patients_of
from data.reading.readers import load_examples
from data.splits.kept_together import Pictures, keys_of
from process.regular import sha256_of

_FIELDS = (
    *("question", "options", "answer", "modality", "question_type", "dataset", "images"),
    *("form", "accepted", "absolute_tolerance", "relative_tolerance", "system"),
)


def prove(
    folder: Path,
    written: Mapping[str, Sequence[VQAExample]],
    pictures: Pictures,
    image_root: Path,
    *,
    patient: bool,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the files' checksums, and what train and test have in common.

    Args:
        folder: where the files are.
        written: file name -> the examples that it must hold, in their order.
        pictures: contents and near-duplicates of the images, as the groups were made from.
        image_root: the folder under which image paths begin.
        patient: whether the parts must share no patient either.

    Raises:
        AssertionError: a row reads back otherwise than it was meant, or the parts share an image,
            or a patient. Our own mistake: nothing may be published then.
    """
    parts: dict[str, list[VQAExample]] = {"train": [], "test": []}
    checksums = {}
    for name, meant in written.items():
        read = load_examples(folder / name, image_root)
        if list(map(_content, read)) != list(map(_content, meant)):
            raise AssertionError(f"{name} reads otherwise")
        parts["test" if name.endswith("_test.json") else "train"] += read
        checksums[name] = sha256_of(folder / name)
    train, test = (_ties(parts[part], pictures) for part in ("train", "test"))
    patients = [{p for e in parts[part] for p in patients_of(e)} for part in ("train", "test")]
    shared = {
        "paths_in_both": len(train["image"] & test["image"]),
        "contents_in_both": len(train["content"] & test["content"]),
        "near_duplicates_in_both": len(train["near"] & test["near"]),
        "patients_in_both": len(patients[0] & patients[1]),
    }
    forbidden = {name: count for name, count in shared.items() if patient or "patients" not in name}
    if any(forbidden.values()):
        raise AssertionError(f"train and test share {forbidden}")
    return checksums, shared


def _content(example: VQAExample) -> tuple:
    return tuple(getattr(example, field) for field in _FIELDS)


def _ties(examples: Sequence[VQAExample], pictures: Pictures) -> dict[str, set[str]]:
    ties: dict[str, set[str]] = {"image": set(), "content": set(), "near": set()}
    for keys in keys_of(examples, pictures):
        for kind, value in keys:
            ties[kind].add(value)
    return ties
