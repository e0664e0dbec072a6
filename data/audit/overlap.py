"""What a test file shares with train files: images, questions about them, patients."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from data.audit.audited import AuditFile, FilePair
from data.patients import patients_of


def path_overlap(train: AuditFile, test: AuditFile) -> dict[str, int]:
    """Return the test rows with an image that a train row has, by its path below the image root.

    ``same_question`` counts those among them that ask a train row's question about the same images.
    """
    seen, asked = _images(train), _questions(train)
    rows = list(zip(test.images, test.examples, strict=True))
    return {
        "same_image": sum(not seen.isdisjoint(images) for images, _ in rows),
        "same_question": sum(
            bool(images) and (images, example.question) in asked for images, example in rows
        ),
    }


def patient_overlap(train: AuditFile, test: AuditFile) -> dict[str, Any]:
    """Return the test rows whose file names give a patient or series, and those in train, too.

    Returns:
        ``readable`` and ``in_train`` (test rows), and ``datasets``: name -> rows, readable,
        in_train, for the data sets with a readable row.
    """
    known = {patient for patients in _patients(train) for patient in patients}
    datasets: dict[str, dict[str, int]] = defaultdict(
        lambda: {"rows": 0, "readable": 0, "in_train": 0}
    )
    for example, patients in zip(test.examples, _patients(test), strict=True):
        entry = datasets[example.dataset]
        entry["rows"] += 1
        entry["readable"] += bool(patients)
        entry["in_train"] += not known.isdisjoint(patients)
    return {
        "readable": sum(entry["readable"] for entry in datasets.values()),
        "in_train": sum(entry["in_train"] for entry in datasets.values()),
        "datasets": {
            name: datasets[name] for name in sorted(datasets) if datasets[name]["readable"]
        },
    }


def foreign_rows(files: Sequence[AuditFile], pairs: Sequence[FilePair]) -> list[dict[str, Any]]:
    """Return, for test and train files that are no pair, the test rows found in train.

    The splits of OmniMedVQA by modality and by question type were drawn independently: a test row
    of one axis may stand in a train file of the other. Only file pairs with such a row are listed.
    """
    paired = {(train.name, test.name) for train, test in pairs}
    found = []
    for train in (file for file in files if file.part == "train"):
        for test in (file for file in files if file.part == "test"):
            overlap = path_overlap(train, test)
            if (train.name, test.name) in paired or not overlap["same_image"]:
                continue
            axes = {"across_axes": train.axis != test.axis, "n": len(test.examples)}
            found.append({"train": train.name, "test": test.name, **axes, **overlap})
    return found


def _images(file: AuditFile) -> set[str]:
    return {image for images in file.images for image in images}


def _questions(file: AuditFile) -> set[tuple[tuple[str, ...], str]]:
    rows = zip(file.images, file.examples, strict=True)
    return {(images, example.question) for images, example in rows}


def _patients(file: AuditFile) -> list[set[str]]:
    """Return each row's patients; ids name their source, so that those of two never meet."""
    return [patients_of(example) for example in file.examples]
