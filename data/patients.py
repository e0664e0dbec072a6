"""Patients, as far as rows and file names tell: two pictures of one patient are no two tests.

A row may say it itself, in ``subject_id`` (MIMIC-CXR-VQA). Of file names are read only numbers that
the source data set gave to a patient, an examination, a slide, a paper's figure or a picture that
was cut up. Running numbers of images (``lung000007.png``,
``ISIC_0034322.jpg``, ``amd_test_1001.jpg``) say nothing and are not read, and neither is one film
per patient (``MCUCXR_0002_0.png``): there the image is the patient.
"""

import re

from data.examples import VQAExample

SUBJECT = "subject_id"  # a row's own field

# OmniMedVQA's folder of a data set: (whose numbers these are, pattern). The pattern's groups are
# the id, the comment an example. Numbers of one source are one patient in whichever data set they
# stand: CoronaHack and OCT & X-Ray 2017 show the same films under the same names.
_SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    # patient
    "OCT & X-Ray 2017": (
        ("kermany", r"/(person\d+)_(?:bacteria|virus)_\d+\.\w+"),  # person306_bacteria_1440.jpeg
        ("kermany", r"/((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?\.\w+"),  # NORMAL2-IM-0326-0001.jpeg
        ("kermany-oct", r"/(?:CNV|DME|DRUSEN|NORMAL)-(\d+)-\d+\.\w+"),  # DRUSEN-1997439-2.jpeg
    ),
    "CoronaHack": (
        ("kermany", r"/(person\d+)_(?:bacteria|virus)_\d+\.\w+"),
        ("kermany", r"/((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?\.\w+"),
    ),
    "Chest X-Ray PA": (
        ("kermany", r"/(person\d+)_(?:bacteria|virus)_\d+\.\w+"),
        ("nih", r"/(\d{8})_\d{3}\.\w+"),  # 00001008_000.png: patient, follow-up
    ),
    "COVIDx CXR-4": (("ricord", r"/MIDRC-RICORD-1C-(\w+-\d{6})-[\d.]+-\d+\.\w+"),),  # SITE2-000135
    "DeepDRiD": (("deepdrid", r"/(\d+)_[lr]\d\.\w+"),),  # 347_r1.jpg: both eyes, two views
    "Diabetic Retinopathy": (("eyepacs", r"/(\d+)_(?:left|right)\.\w+"),),  # 1000_left.jpeg
    "Knee Osteoarthritis": (("oai", r"/(\d{7})[LR]\.\w+"),),  # 9003175L.png
    "Mura": (("mura", r"/(patient\d+)/study\d+_\w+/[^/]+"),),  # patient11186/study1_positive/..
    "NLM- Malaria Data": (("nlm", r"/(C\d+)A?(?:P\d+)?N?_?[Tt]hin[^/]+"),),  # C100P61ThinF_IMG_..
    "OLIVES": (  # one eye or both, followed over years
        ("prime", r"/Prime_FULL_Prime_FULL_(\d+-\d+)_[^/]+"),  # .._01-001_W20_OS_fundus_W20.png
        ("trex", r"/TREX DME_[^/_]+_(\d{4})[GMT]O[DS]_[^/]+"),  # TREX DME_GILA_0229GOD_V9_OD..
    ),
    "PAD-UFES-20": (("pad-ufes", r"/(PAT_\d+)_\d+_\d+\.\w+"),),  # PAT_101_1041_651.png
    "Chest CT Scan": (("deeplesion", r"/(\d{6})_\d\d_\d\d_\d{3}\.\w+"),),  # 004007_01_01_519.png
    # slide or case of a biopsy
    "BreakHis": (("breakhis", r"/SOB_[BM]_[A-Z]+-(\d+-\d+)[A-Z]*-\d+-\d+\.\w+"),),  # 14-22549AB-100
    "MAlig Lymph": (("lymphoma", r"/(sj-\d+-\d+)(?:-R\d+)?_\d+\.\w+"),),  # sj-05-894-R3_005.tif
    # figure or paper from which pictures were cut
    "Covid CT": (
        ("paper", r"/([^/]+)-p\d+-[^/]+"),  # 2020.02.10.20021584-p6-52%11.png: paper, page, picture
        ("figure", r"/(\d+)%\d+\.\w+"),  # 83%0.jpg: figure, part
    ),
    # picture that was cut up, or from which others were drawn
    "BioMediTech": (("biomeditech", r"/\d_(\d{5})_0(?:0\d|1[0-6])_\d_\d\.\w+"),),  # one of 16 tiles
    "Blood Cell": (("bccd", r"/([A-Z]+/_\d+)_\d+\.\w+"),),  # Keras' index_hash of an augmentation
}
_PATTERNS = {
    dataset: tuple((source, re.compile(pattern)) for source, pattern in sources)
    for dataset, sources in _SOURCES.items()
}


def patients_of(example: VQAExample) -> set[str]:
    """Return the patients or series that a row itself or the names of its files give."""
    found = {patient_id(name, example.dataset) for name in example.image_names}
    subject = example.fields.get(SUBJECT)
    if isinstance(subject, str | int) and not isinstance(subject, bool) and str(subject).strip():
        found.add(f"{SUBJECT}/{str(subject).strip()}")
    return {patient for patient in found if patient is not None}


def patient_id(image_name: str, dataset: str) -> str | None:
    """Return the patient, examination or series that the file name gives, or None if it gives none.

    Args:
        image_name: the image's path, as in the published row or under any image root.
        dataset: OmniMedVQA's folder of the data set, as in `VQAExample.dataset`.

    >>> patient_id("Images/Diabetic Retinopathy/0/1000_left.jpeg", "Diabetic Retinopathy")
    'eyepacs/1000'
    >>> patient_id("Images/RadImageNet/spleen/usn197755.png", "RadImageNet") is None
    True
    """
    path = "/" + image_name.replace("\\", "/")
    for source, pattern in _PATTERNS.get(dataset, ()):
        for match in pattern.finditer(path):
            if match.end() == len(path):
                return f"{source}/{match[1]}"
    return None
