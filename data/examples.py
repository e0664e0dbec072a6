"""One medical image question with its options and the right letter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from PIL import Image

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

# An image is a file, or something that draws it when asked (the phantoms): decoded lazily, every
# time anew, so that a data set of any size costs no memory.
ImageSource = Path | Callable[[], Image.Image]


@dataclass(frozen=True)
class VQAExample:
    """A question about one or several images with two or more options, one of them right."""

    id: str  # the file's stem and the row's number, e.g. "CT_test-17"
    images: tuple[ImageSource, ...]
    question: str  # without the options
    options: tuple[str, ...]  # in the order of their letters, without "A)"
    answer: str  # the letter of the right option
    modality: str = UNKNOWN
    question_type: str = UNKNOWN
    dataset: str = UNKNOWN
    source: str = UNKNOWN  # the file the row came from

    def __post_init__(self) -> None:
        letters = ascii_uppercase[: len(self.options)]
        if len(self.options) < 2 or self.answer not in letters or len(self.answer) != 1:
            raise ValueError(
                f"{self.id}: answer {self.answer!r} is not the letter of one of the"
                f" {len(self.options)} options {list(self.options)}: correct the row"
            )

    @property
    def answer_text(self) -> str:
        """The right option's text."""
        return self.options[ascii_uppercase.index(self.answer)]

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images as logs and predictions name them: a file's path, a drawing's own name."""
        return tuple(
            image.as_posix() if isinstance(image, Path) else str(image) for image in self.images
        )
