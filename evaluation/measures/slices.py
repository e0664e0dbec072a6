"""The slices of a matrix: what a test file or a checkpoint's name is about, by one name each.

A slice is a modality or a question type under the name that data.reading.labels gives it, whatever
a published file is called; anything else (`base`, a file of another kind) keeps its own name and is
nobody's slice.
"""

import re
from collections.abc import Sequence

from data.examples import MODALITIES, QUESTION_TYPES, UNKNOWN
from data.named import is_phantoms
from data.reading.files import stem_of
from data.reading.labels import modality_label, question_type_label, subject_of
from process.paths import expanded

AXES = {"modality": MODALITIES, "question_type": QUESTION_TYPES}


def slice_name(spelling: str) -> str:
    """Return the modality or question type that a name means, else the name itself.

    >>> slice_name("MR (Mag-netic Resonance Imaging)"), slice_name("lesion grading")
    ('MRI', 'Lesion Grading')
    >>> slice_name("base")
    'base'
    """
    for label in (modality_label, question_type_label):
        if (found := label(spelling)) != UNKNOWN:
            return found
    return spelling


def slice_of_source(source: str) -> str:
    """Return the slice that a test source is about: a file by its name, or a slice of phantoms.

    >>> slice_of_source("splits/OCT (Optical Coherence Tomography_test.json")
    'OCT'
    >>> slice_of_source("phantoms:CT"), slice_of_source("phantoms")
    ('CT', 'phantoms')
    """
    if is_phantoms(source):
        return source.partition(":")[2].strip() or source
    return slice_name(subject_of(stem_of(source)))


def named_models(pairs: Sequence[str]) -> dict[str, str]:
    """Return slice name -> checkpoint from the values of --models.

    Raises:
        ValueError: a value that is no NAME=DIR, or two of one name.

    >>> named_models(["CT=runs/a/checkpoints/step-000200", "base=tiny"])
    {'CT': 'runs/a/checkpoints/step-000200', 'base': 'tiny'}
    """
    models: dict[str, str] = {}
    for pair in pairs:
        spelling, equals, checkpoint = pair.partition("=")
        if not (spelling.strip() and equals and checkpoint):
            raise ValueError(
                f"--models {pair}: write NAME=DIR, the slice it was trained on and its checkpoint,"
                " such as CT=runs/ct/checkpoints/step-000200"
            )
        name = slice_name(spelling.strip())
        if name in models:
            raise ValueError(
                f"--models names {name} twice ({models[name]}, {checkpoint}): one row of a matrix"
                " is one checkpoint; put the other into a matrix of its own"
            )
        models[name] = expanded(checkpoint)
    return models


def named_tests(sources: Sequence[str]) -> dict[str, str]:
    """Return slice name -> test source, in the order given.

    Raises:
        ValueError: two sources of one slice.
    """
    tests: dict[str, str] = {}
    for source in sources:
        name = slice_of_source(source)
        if name in tests:
            raise ValueError(
                f"--json names {name} twice ({tests[name]}, {source}): one column of a matrix is"
                " one file; leave one away, or rename the file"
            )
        tests[name] = source
    return tests


def folder_name(name: str) -> str:
    """Return a name as a folder's: letters, digits, dots and dashes.

    >>> folder_name("Lesion Grading"), folder_name("grpo:think_after")
    ('Lesion-Grading', 'grpo-think_after')
    """
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "unnamed"
