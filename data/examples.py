"""One medical image question: what is shown and asked, and what a right answer is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from PIL import Image

from data.held_images import HeldImage
from rewards.forms import FORMS

# The eight modalities and five question types of OmniMedVQA as Med-R1 splits them. "unknown" stands
# where neither the row nor the file's name tells.
MODALITIES = ("CT", "MRI", "X-Ray", "Ultrasound", "Dermoscopy", "Fundus", "OCT", "Microscopy")
QUESTION_TYPES = (
    "Anatomy Identification",
    "Disease Diagnosis",
    "Lesion Grading",
    "Modality Recognition",
    "Other Biological Attributes",
)
UNKNOWN = "unknown"

# An image is stored, in a file or in a data file's row, or something draws it when asked (the
# phantoms): decoded lazily, every time anew, so that a data set of any size costs no memory.
StoredImage = Path | HeldImage
ImageSource = StoredImage | Callable[[], Image.Image]


@dataclass(frozen=True)
class VQAExample:
    """A question about any number of images, and its key.

    Of a choice the key is the letter of one of two or more options, also where it is asked as yes
    or no; of an open question a text or a number.
    """

    id: str  # the file's stem and the row's number, e.g. "CT_test-17"
    images: tuple[ImageSource, ...]
    question: str  # without the options
    options: tuple[str, ...]  # in the order of their letters, without "A)"; an open one has none
    answer: str  # the letter of the right option; of an open question the text, or the number
    modality: str = UNKNOWN
    question_type: str = UNKNOWN
    dataset: str = UNKNOWN
    source: str = UNKNOWN  # the file the row came from
    form: str = "letter"  # how it is answered: a name in rewards/forms/
    accepted: tuple[str, ...] = ()  # other texts that are as right as the answer
    absolute_tolerance: float = 0.0  # of a number: the larger of the two counts
    relative_tolerance: float = 0.0  # a share of the right number's size
    system: str = ""  # the row's own system turn
    family: str = field(default="", compare=False)  # the published form that its row has
    # what else the row holds, by the names it has there; a reward or --only may ask for it
    fields: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.kind != "choice" and self.options:
            raise ValueError(
                f"{self.id}: an open question has no options, not {list(self.options)}: correct the"
                " row"
            )
        if problem := FORMS[self.form].key_problem(self):
            raise ValueError(f"{self.id}: {problem}: correct the row")

    @property
    def kind(self) -> str:
        """What kind of answer it has: ``choice``, ``text`` or ``number``."""
        return FORMS[self.form].kind

    @property
    def answer_text(self) -> str:
        """The right answer in words: the right option's text, or an open question's answer."""
        if self.kind != "choice":
            return self.answer
        return self.options[ascii_uppercase.index(self.answer)]

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images as logs and predictions name them, see `image_name`."""
        return tuple(map(image_name, self.images))


def image_name(source: ImageSource) -> str:
    """Return what an image is called: a file's path, a held one's digest, a drawing's own name."""
    return source.as_posix() if isinstance(source, Path) else str(source)
