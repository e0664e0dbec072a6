"""What a phantom shows: a modality, one of its four anatomies, a finding, a grade and a site."""

import hashlib
from dataclasses import dataclass

import numpy as np

from data.examples import MODALITIES

# The names are the options of the questions, so they are what an answer must read off the image.
MODALITY_NAMES = {
    "CT": "CT",
    "MRI": "MRI",
    "X-Ray": "radiography",
    "Ultrasound": "ultrasound",
    "Dermoscopy": "dermoscopy",
    "Fundus": "funduscopy",
    "OCT": "OCT",
    "Microscopy": "microscopy",
}
ANATOMIES = {
    "CT": ("head", "chest", "abdomen", "pelvis"),
    "MRI": ("brain", "knee", "spine", "heart"),
    "X-Ray": ("lungs", "hand", "skull", "leg"),
    "Ultrasound": ("kidney", "thyroid", "bladder", "muscle"),
    "Dermoscopy": ("face", "palm", "scalp", "back"),
    "Fundus": ("disc", "macula", "arcade", "periphery"),
    "OCT": ("fovea", "cornea", "choroid", "nerve"),
    "Microscopy": ("node", "blood", "tendon", "gland"),
}
FINDINGS = ("tumor", "cyst", "abscess", "metastases")  # solid, empty, a ring, many dots
GRADES = ("minimal", "mild", "moderate", "severe")  # by size
SITES = ("left", "right", "top", "bottom")  # as seen on the image


@dataclass(frozen=True)
class Attributes:
    """The facts of one phantom, each a number from 0 to 3 into the tuples above."""

    modality: str
    anatomy: int
    finding: int
    grade: int
    site: int

    def __post_init__(self) -> None:
        values = (self.anatomy, self.finding, self.grade, self.site)
        if self.modality not in MODALITIES or not all(0 <= value < 4 for value in values):
            raise ValueError(f"{self}: modality must be one of {MODALITIES}, the rest 0 to 3")

    @property
    def modality_name(self) -> str:
        return MODALITY_NAMES[self.modality]

    @property
    def anatomy_name(self) -> str:
        return ANATOMIES[self.modality][self.anatomy]

    @property
    def finding_name(self) -> str:
        return FINDINGS[self.finding]

    @property
    def grade_name(self) -> str:
        return GRADES[self.grade]

    @property
    def site_name(self) -> str:
        return SITES[self.site]


def generator(*key: object) -> np.random.Generator:
    """Return a random generator that depends on ``key`` alone, on every machine and in any order.

    >>> int(generator("train", 3).integers(1000)) == int(generator("train", 3).integers(1000))
    True
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
