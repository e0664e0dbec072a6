"""Where the images of published question files are published: what to fetch where they are missing.

Data files name images and hold none. A data set is known by how its images, its files or its
folder are called. Hub data sets are those of huggingface.co/datasets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedImages:
    """One data set's images."""

    name: str
    where: str
    known_by: re.Pattern[str]  # found in an image's path, a data set's name or a file's


def _images(name: str, known_by: str, where: str) -> PublishedImages:
    return PublishedImages(name, where, re.compile(known_by, re.IGNORECASE))


PUBLISHED = (
    _images(
        "OmniMedVQA, and Med-R1's splits of it",
        r"(?-i:(?:^|/)Images/[^/]+/)|omnimed",
        "hub data set foreverbeliever/OmniMedVQA (arXiv:2402.09181): the folder that holds Images",
    ),
    _images(
        "PMC-VQA",
        r"(?:^|/)PMC\d+_|pmc[-_ ]?vqa",
        "hub data set RadGenome/PMC-VQA (arXiv:2305.10415): images.zip, images_2.zip",
    ),
    _images(
        "SLAKE",
        r"(?:^|/)xmlab\d+/|slake",
        "hub data set BoKelvin/SLAKE (arXiv:2102.09542): imgs.zip",
    ),
    _images(
        "VQA-RAD",
        r"(?:^|/)synpic\d+|vqa[-_ ]?rad",
        "osf.io/89kps (Lau et al., Scientific Data 2018); with its images inside, hub data set"
        " flaviagiammarino/vqa-rad",
    ),
    _images(
        "PathVQA",
        r"path[-_ ]?vqa",
        "with its images inside, hub data set flaviagiammarino/path-vqa (arXiv:2003.10286)",
    ),
    _images(
        "MIMIC-CXR, of MIMIC-CXR-VQA and GEMeX",
        r"(?:^|/)p1\d/p\d{8}/|mimic|gemex",
        "MIMIC-CXR-JPG on physionet.org, for credentialed users: the folder that holds files",
    ),
    _images(
        "MedXpertQA",
        r"(?:^|/)MM-\d+-\w\.|medxpert",
        "hub data set TsinghuaC3I/MedXpertQA (arXiv:2501.18362): images.zip",
    ),
    _images(
        "MedFrameQA",
        r"medframe",
        "with its images inside, hub data set SuhaoYu1020/MedFrameQA (arXiv:2505.16964)",
    ),
)


def where_published(texts: Iterable[str]) -> list[PublishedImages]:
    """Return the data sets that are known by one of these paths and names, each once.

    >>> [found.name for found in where_published(["imgs/xmlab1/source.jpg", "a.png"])]
    ['SLAKE']
    """
    left, found = list(PUBLISHED), []
    for text in texts:
        known = [one for one in left if one.known_by.search(text)]
        found += known
        left = [one for one in left if one not in known]
        if not left:
            break
    return sorted(found, key=PUBLISHED.index)
