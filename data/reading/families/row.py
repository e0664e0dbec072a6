"""What a published row says, in one form whatever its family, and why a row cannot say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class RowError(ValueError):
    """A row that cannot become an example: the value at fault, and what is wrong with it."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every family says, before images are looked up and names made uniform.

    Form, answer, accepted texts, tolerances and system turn are those of `VQAExample`.
    """

    images: tuple[Any, ...] = ()  # as the row has them: paths, base64, {bytes, path}; none is none
    question: str
    options: tuple[str, ...] = ()
    answer: str
    answer_field: str  # where the row has it, for messages
    form: str = "letter"
    accepted: tuple[str, ...] = ()
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    system: str = ""
    # What `read_row` fills in, of every family: labels as the row spells them, and every other
    # field by its own name.
    modality: str | None = None
    question_type: str | None = None
    dataset: str | None = None
    states_labels: bool = False  # and its file's name and its images' folders add nothing
    family: str = ""  # the family's name, filled in likewise
    fields: Mapping[str, Any] = field(default_factory=dict)
