"""Five kinds of question about a phantom, each in four wordings, with and without options.

Nothing but the image tells the answer: wording, options and their order are drawn without looking
at it, and every value of an attribute is right equally often.
"""

import numpy as np

from data.examples import MODALITIES
from data.phantoms.attributes import (
    ANATOMIES,
    FINDINGS,
    GRADES,
    MODALITY_NAMES,
    SITES,
    Attributes,
)

WORDINGS = {
    "Anatomy Identification": (
        "Which anatomy is shown here?",
        "What body part does this image show?",
        "Which structure is seen in this image?",
        "What is the anatomy in this image?",
    ),
    "Disease Diagnosis": (
        "What is the most likely diagnosis?",
        "Which disease does this image show?",
        "What kind of lesion is this?",
        "Which diagnosis fits the lesion?",
    ),
    "Lesion Grading": (
        "How severe is the lesion?",
        "What is the grade of the lesion?",
        "Which grade fits the size of this lesion?",
        "How would you grade this lesion?",
    ),
    "Modality Recognition": (
        "What imaging modality is this?",
        "Which modality was used for this image?",
        "How was this image made?",
        "What type of imaging does this image show?",
    ),
    "Other Biological Attributes": (
        "Where is the lesion?",
        "In which part of the image is the lesion?",
        "What is the site of the lesion?",
        "On which side of the image is the lesion?",
    ),
}

# With one of the candidates in place of {}: asked by yes or no.
NAMED = {
    "Anatomy Identification": (
        "Is the {} shown here?",
        "Does this image show the {}?",
        "Is this the {}?",
        "Is the anatomy in this image the {}?",
    ),
    "Disease Diagnosis": (
        "Is the lesion like a {}?",
        "Does this image show {}?",
        "Is the diagnosis {}?",
        "Is {} the most likely diagnosis?",
    ),
    "Lesion Grading": (
        "Is the lesion {}?",
        "Is the grade of the lesion {}?",
        "Would you grade this lesion {}?",
        "Is {} the grade of this lesion?",
    ),
    "Modality Recognition": (
        "Is this {}?",
        "Was {} used for this image?",
        "Was this image made with {}?",
        "Is {} the modality of this image?",
    ),
    "Other Biological Attributes": (
        "Is the lesion at the {}?",
        "Is the {} the site of the lesion?",
        "Is the lesion in the {} part of the image?",
        "Is the lesion on the {} side of the image?",
    ),
}
COUNTED = (
    "How many lesions are there?",
    "How many lesions does this image show?",
    "What is the number of lesions?",
    "How many lesions are shown here?",
)


def right_text(question_type: str, attributes: Attributes) -> str:
    """Return the text of the right option."""
    return {
        "Anatomy Identification": attributes.anatomy_name,
        "Disease Diagnosis": attributes.finding_name,
        "Lesion Grading": attributes.grade_name,
        "Modality Recognition": attributes.modality_name,
        "Other Biological Attributes": attributes.site_name,
    }[question_type]


def candidates(question_type: str, attributes: Attributes) -> tuple[str, ...]:
    """Return every text that could be an option: four, or the names of all eight modalities."""
    return {
        "Anatomy Identification": ANATOMIES[attributes.modality],
        "Disease Diagnosis": FINDINGS,
        "Lesion Grading": GRADES,
        "Modality Recognition": tuple(MODALITY_NAMES[name] for name in MODALITIES),
        "Other Biological Attributes": SITES,
    }[question_type]


def draw_options(
    question_type: str, attributes: Attributes, right_index: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Return four options in random order, the right one at ``right_index``."""
    right = right_text(question_type, attributes)
    wrong = [text for text in candidates(question_type, attributes) if text != right]
    options = [str(text) for text in rng.permutation(wrong)[:3]]
    options.insert(right_index, right)
    return tuple(options)
