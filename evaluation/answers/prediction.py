"""What one question was answered, and whether that was right: a line of predictions.jsonl."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from data.examples import VQAExample
from evaluation.answers.kept_fields import kept_fields
from rewards import parse_completion
from rewards.forms import FORMS, is_right

# Below one half the model would rather write no letter than any: their shares say what it does
# where it hardly ever is.
LEAST_MASS = 0.5

# Tells the answers of one evaluation apart: the row's id, the control, the order of its options and
# its images.
AnswerKey = tuple[str, str | None, tuple[int, ...], tuple[str, ...]]


def is_measured(letter_mass: float | None) -> bool:
    """Return whether letters' probabilities of this mass count; None: it is not known."""
    return letter_mass is None or letter_mass >= LEAST_MASS


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered question; the fields are the keys of predictions.jsonl, in its order."""

    id: str
    images: tuple[str, ...]  # paths, or the names of drawn ones
    modality: str
    question_type: str
    dataset: str
    question: str
    options: tuple[str, ...]  # as they were shown
    permutation: tuple[int, ...]  # shown option i was option permutation[i] of the row
    answer: str  # the right letter among the shown options; an open question's key
    completion: str  # without its end token
    choice: str | None  # what the strict parser reads: a letter, a text, digits
    lenient_choice: str | None  # what a forgiving reader would take
    well_formed: bool  # exactly the mode's tags and an answer of the form
    correct: bool  # well formed and the right answer: the accuracy reward's own condition
    lenient_correct: bool
    completion_tokens: int  # the end token included
    truncated: bool  # cut off by the limit
    letter_probabilities: dict[str, float] | None  # None: not asked for, or no <answer> tag
    control: str | None  # what was done to the image, None: nothing
    # The probability that one of these letters is written after <answer>; None as above, and in
    # files of a version that did not note it.
    letter_mass: float | None = None
    unanswered: str | None = None  # why the row could not be asked: then it counts as wrong
    form: str = "letter"  # in which it was answered (rewards/forms/); files of before: a letter
    # These four stand in the line only where they say something: what else is right of an open
    # question, and the row's other fields (evaluation/answers/kept_fields.py).
    accepted: tuple[str, ...] = ()
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether the row was asked as it stands in the data: its own image, options in order."""
        return self.control is None and self.permutation == tuple(range(len(self.options)))

    @property
    def kind(self) -> str:
        """What kind of answer it has: ``choice``, ``text`` or ``number``."""
        return FORMS[self.form].kind

    @property
    def chance(self) -> float | None:
        """How often a guess is right; None where guessing has no rate."""
        return FORMS[self.form].chance(self)

    def to_json(self) -> dict[str, Any]:
        """The line of predictions.jsonl as a dictionary."""
        line = asdict(self)
        return {name: line[name] for name in line if name not in _IF_ANY or line[name]}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Prediction":
        """Return the prediction of a line; texts that rows and passes share are in memory once.

        Raises:
            TypeError, KeyError: a field is missing, unknown or no list where it should be one.
        """
        names = ("modality", "question_type", "dataset", "question")
        shared: dict[str, Any] = {name: sys.intern(line[name]) for name in names}
        shared |= {name: tuple(map(sys.intern, line[name])) for name in ("images", "options")}
        if "accepted" in line:
            shared["accepted"] = tuple(map(sys.intern, line["accepted"]))
        return cls(**{**line, **shared, "permutation": tuple(line["permutation"])})

    @property
    def key(self) -> AnswerKey:
        """What tells it from the others of its evaluation."""
        return self.id, self.control, self.permutation, self.images


_IF_ANY = ("accepted", "absolute_tolerance", "relative_tolerance", "fields")

_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("id", "answer", "completion", "form"), str),
    **dict.fromkeys(("choice", "lenient_choice", "control", "unanswered"), str | None),
    **dict.fromkeys(("well_formed", "correct", "lenient_correct", "truncated"), bool),
    **{"completion_tokens": int, "letter_probabilities": dict | None},
    "letter_mass": int | float | None,
    **dict.fromkeys(("absolute_tolerance", "relative_tolerance"), int | float),
    "fields": dict,
}


def check_fields(line: Mapping[str, Any]) -> None:
    """Raise for a line of predictions.jsonl that is none; its file may be someone else's.

    Raises:
        TypeError, KeyError: a field is missing, unknown, or of another kind.
        ValueError: a probability that is none, an unknown form, a field that is no plain value.
    """
    item = Prediction.from_json(line)
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(item, name), kind):
            raise TypeError(f"{name} is {type(value).__name__}")
    if not all(isinstance(place, int) for place in item.permutation):
        raise TypeError("permutation holds what is no whole number")
    if item.form not in FORMS:
        raise ValueError(f"form {item.form!r} is none of {', '.join(FORMS)}")
    if kept_fields(item.fields) != item.fields:
        raise ValueError("fields holds what is no short text or number")
    for letter, share in (item.letter_probabilities or {}).items():
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"the probability of {letter!r} is none")


def judge(
    example: VQAExample,
    completion: str,
    *,
    mode: str,
    completion_tokens: int,
    truncated: bool,
    letter_probabilities: Mapping[str, float] | None = None,
    letter_mass: float | None = None,
    permutation: Sequence[int] | None = None,
    control: str | None = None,
    unanswered: str | None = None,
) -> Prediction:
    """Return the prediction that a completion amounts to, read by the parser that training uses.

    Raises:
        ValueError: unknown mode. No completion raises.
    """
    parsed = parse_completion(completion, mode, example.options, example.form)
    if permutation is None:
        permutation = range(len(example.options))
    correct = parsed.well_formed and is_right(parsed.choice, example)
    return Prediction(
        id=example.id,
        images=example.image_names,
        modality=example.modality,
        question_type=example.question_type,
        dataset=example.dataset,
        question=example.question,
        options=example.options,
        permutation=tuple(permutation),
        answer=example.answer,
        completion=completion,
        choice=parsed.choice,
        lenient_choice=parsed.lenient_choice,
        well_formed=parsed.well_formed,
        correct=correct,
        # the forgiving reader takes "St. Jude valve" for two sentences
        lenient_correct=correct or is_right(parsed.lenient_choice, example),
        completion_tokens=completion_tokens,
        truncated=truncated,
        letter_probabilities=None if letter_probabilities is None else dict(letter_probabilities),
        control=control,
        letter_mass=letter_mass,
        unanswered=unanswered,
        form=example.form,
        accepted=example.accepted,
        absolute_tolerance=example.absolute_tolerance,
        relative_tolerance=example.relative_tolerance,
        fields=kept_fields(example.fields),
    )
