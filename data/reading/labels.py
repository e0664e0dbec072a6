"""One name for each modality and question type, whatever a published file calls it."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from data.examples import QUESTION_TYPES, UNKNOWN

# Keys are spellings without case, spaces and punctuation (see `_key`). Some published
# ones are odd: `MR (Mag-netic Resonance Imaging)`, `OCT (Optical Coherence Tomography`.
_MODALITIES = {
    "ct": "CT",
    "computedtomography": "CT",
    "ctcomputedtomography": "CT",
    "mr": "MRI",
    "mri": "MRI",
    "magneticresonanceimaging": "MRI",
    "mrmagneticresonanceimaging": "MRI",
    "mrimagneticresonanceimaging": "MRI",
    "xray": "X-Ray",
    "ultrasound": "Ultrasound",
    "us": "Ultrasound",
    "dermoscopy": "Dermoscopy",
    "der": "Dermoscopy",
    "fundus": "Fundus",
    "fp": "Fundus",
    "fundusphotography": "Fundus",
    "oct": "OCT",
    "opticalcoherencetomography": "OCT",
    "octopticalcoherencetomography": "OCT",
    "microscopy": "Microscopy",
    "microscopyimages": "Microscopy",
}
_QUESTION_TYPES = {re.sub(r"[^a-z]", "", name.lower()): name for name in QUESTION_TYPES}

_PART = re.compile(r"[ _-](train|test|val|validation|eval|heldout|pretrain)$", re.IGNORECASE)


def modality_label(spelling: str) -> str:
    """Return the modality that ``spelling`` means, or ``unknown``.

    >>> modality_label("MR (Mag-netic Resonance Imaging)"), modality_label("Endoscopy")
    ('MRI', 'unknown')
    """
    return _MODALITIES.get(_key(spelling), UNKNOWN)


def question_type_label(spelling: str) -> str:
    """Return the question type that ``spelling`` means, or ``unknown``.

    >>> question_type_label("lesion grading"), question_type_label("CT")
    ('Lesion Grading', 'unknown')
    """
    return _QUESTION_TYPES.get(_key(spelling), UNKNOWN)


def subject_of(stem: str) -> str:
    """Return what a split file is about: its name without suffix and without ``_train``, ``_test``.

    >>> subject_of("Fundus Photography_test")
    'Fundus Photography'
    """
    return _PART.sub("", stem)


def official_split(row: Mapping[str, Any]) -> str | None:
    """Return the part to which a row's source counts it, None where the row does not say.

    VQA-RAD says it at the beginning of ``phrase_type``: ``test_freeform``, or ``freeform``.

    >>> official_split({"split": " Test "}), official_split({"phrase_type": "test_para"})
    ('test', 'test')
    >>> official_split({"phrase_type": "freeform"}), official_split({"split": None})
    ('train', None)
    """
    for name in ("split", "phrase_type"):
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            text = value.strip().casefold()
            return text if name == "split" else "test" if text.startswith("test_") else "train"
    return None


def dataset_folder(image: str) -> str | None:
    """Return the folder after ``Images/`` in an image's path, or None where there is none.

    >>> dataset_folder("Images/Chest CT Scan/test/000139 (9).png"), dataset_folder("Images/a.png")
    ('Chest CT Scan', None)
    """
    folders = PurePosixPath(image).parts[:-1]
    if "Images" not in folders:
        return None
    return next(iter(folders[folders.index("Images") + 1 :]), None)


def _key(spelling: str) -> str:
    return re.sub(r"[^a-z]", "", spelling.lower())
