"""The published row formats, recognised from a row's own fields: a new one is one more entry.

Med-R1's splits of OmniMedVQA (arXiv:2503.13939) hold ``image, problem, solution``: the options
stand inside the problem, the letter inside ``<answer>`` tags. OmniMedVQA's own files
(arXiv:2402.09181) hold ``image_path, question, option_A ..., gt_answer``: the answer is an option's
text. Either may name its ``modality_type``, ``question_type`` and ``dataset``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from data.options import same_option
from data.prompts import SPECIAL_TOKEN
from data.reading.inline import split_options
from data.reading.placeholders import placeholder_problem, without_placeholders

MED_R1_FIELDS = ("image", "problem", "solution")
OMNIMEDVQA_FIELDS = ("image_path", "question", "gt_answer")

RIGHT_TWICE = "means an option that stands under several letters"  # said of such a bad row

_OPTION_FIELD = re.compile(r"option[_ ]?[A-Z0-9]{1,2}", re.IGNORECASE)  # or meant as one
_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")


class RowError(ValueError):
    """A row that cannot become an example: the value at fault, and what is wrong with it."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value


@dataclass(frozen=True)
class Row:
    """What both formats say, before paths are looked up and names made uniform."""

    images: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    answer: str
    modality: str | None
    question_type: str | None
    dataset: str | None


@dataclass(frozen=True)
class RowFamily:
    """One published format: how its rows are known, and how one is read."""

    name: str
    fields: tuple[str, ...]  # a row that has all of them is of this family
    answer: str  # the field of the right answer
    read: Callable[[dict[str, Any]], Row]  # raises a RowError for a row that has no content
    more: tuple[str, ...] = ()  # fields besides, as messages name them

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields as messages name them."""
        return self.fields + self.more


def read_row(row: Any) -> Row:
    """Return the row's content; a `RowError` names the value and the reason where it has none."""
    if not isinstance(row, dict):
        raise RowError(row, "is not an object with named fields")
    family = family_of(row)
    if family is None:
        known = " or ".join(f"{', '.join(one.shown)} ({one.name})" for one in ROW_FAMILIES)
        raise RowError(sorted(row), f"are the fields of no published format: use {known}")
    content = family.read(row)
    question = without_placeholders(content.question, len(content.images))
    if not question.strip():
        raise RowError(content.question, "is a mark for the image and no question: write one")
    content = replace(content, question=question)
    for text in (content.question, *content.options, *content.images):
        _check_text(text)
    _check_right_once(row, family, content)
    return content


def family_of(row: dict[str, Any]) -> RowFamily | None:
    """Return the first family all of whose fields a row has, None where there is none."""
    known = (one for one in ROW_FAMILIES if all(field in row for field in one.fields))
    return next(known, None)


def _check_right_once(row: dict[str, Any], family: RowFamily, content: Row) -> None:
    """Raise where the right option stands under two letters: one would be scored as wrong.

    Two wrong options may be one text: whoever chooses either is wrong.
    """
    right = same_option(content.options[ascii_uppercase.index(content.answer)])
    pairs = zip(ascii_uppercase, content.options, strict=False)
    twins = [letter for letter, text in pairs if same_option(text) == right]
    if len(twins) > 1:
        raise RowError(
            row[family.answer],
            f"({family.answer}) {RIGHT_TWICE} ({', '.join(twins)}): it equals {len(twins)} of the"
            f" options {list(content.options)}, and a letter of its own text would be scored as"
            " wrong",
        )


def _med_r1(row: dict[str, Any]) -> Row:
    problem = _text(row, "problem")
    try:
        question, options = split_options(problem)
    except ValueError as error:
        raise RowError(problem, f"(problem) {error}") from error
    solution = _text(row, "solution")
    match = _SOLUTION.fullmatch(solution)
    if match is None:
        raise RowError(solution, "(solution) is not written as '<answer> C </answer>'")
    letters = ascii_uppercase[: len(options)]
    if match[1] not in letters:
        raise RowError(
            solution, f"(solution) is no option: the problem has options A to {letters[-1]}"
        )
    return Row(_images(row, "image"), question, options, match[1], **_labels(row))


def _omnimedvqa(row: dict[str, Any]) -> Row:
    options = tuple(_lettered_options(row))
    if len(options) < 2:
        raise RowError(list(options), "are too few options: a choice needs option_A and option_B")
    answer = _text(row, "gt_answer")
    index = _match(answer, options)
    return Row(
        _images(row, "image_path"),
        _text(row, "question").strip(),
        options,
        ascii_uppercase[index],
        **_labels(row),
    )


def _lettered_options(row: dict[str, Any]) -> Iterator[str]:
    """Yield the options' texts; a table's rows with fewer options than others have empty ones."""
    known = {f"option_{letter}": letter for letter in ascii_uppercase}
    others = [name for name in row if _OPTION_FIELD.fullmatch(name) and name not in known]
    strange = [name for name in others if not _is_empty(row[name])]
    if strange:
        raise RowError(strange, "name no option: they must be option_A, option_B, ... option_Z")
    present = [letter for name, letter in known.items() if not _is_empty(row.get(name))]
    for letter in ascii_uppercase[: ascii_uppercase.index(present[-1]) if present else 0]:
        if letter not in present:
            reason = "empty" if f"option_{letter}" in row else "missing"
            raise RowError(
                [f"option_{one}" for one in present],
                f"are the options, but option_{letter} before the last of them is {reason}:"
                " letter them A, B, C, ...",
            )
    for letter in present:
        yield _text(row, f"option_{letter}").strip()


def _match(answer: str, options: tuple[str, ...]) -> int:
    """Return the index of the option that equals the answer, letter case ignored.

    Of several it is the first; `_check_right_once` refuses them.
    """
    folded = [option.strip().casefold() for option in options]
    if answer.strip().casefold() not in folded:
        raise RowError(answer, f"(gt_answer) is no option: the options are {options}")
    return folded.index(answer.strip().casefold())


def _is_empty(value: Any) -> bool:
    """Return whether a field holds nothing; NaN is what a table's empty cell becomes."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _images(row: dict[str, Any], field: str) -> tuple[str, ...]:
    value = row[field]
    images = value if isinstance(value, list) else [value]
    if not images or not all(isinstance(image, str) and image.strip() for image in images):
        raise RowError(value, f"({field}) is neither a path nor a list of paths")
    return tuple(image.replace("\\", "/") for image in images)  # as Windows writes them


def _labels(row: dict[str, Any]) -> dict[str, str | None]:
    return {
        "modality": _optional(row, "modality_type"),
        "question_type": _optional(row, "question_type"),
        "dataset": _optional(row, "dataset"),
    }


def _optional(row: dict[str, Any], field: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise RowError(value, f"({field}) is not a text")
    return value or None


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RowError(value, f"({field}) is not a text, or an empty one")
    return value


def _check_text(text: str) -> None:
    if problem := placeholder_problem(text):
        raise RowError(text, problem)
    if found := SPECIAL_TOKEN.search(text):
        raise RowError(text, f"holds {found[0]}, which a tokenizer reads as a special token")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(ascii(text), "holds half a surrogate pair: not valid Unicode") from error


# What is known first counts first.
ROW_FAMILIES = [
    RowFamily("Med-R1", MED_R1_FIELDS, answer="solution", read=_med_r1),
    RowFamily(
        "OmniMedVQA",
        OMNIMEDVQA_FIELDS,
        answer="gt_answer",
        read=_omnimedvqa,
        more=("option_A", "option_B", "..."),
    ),
]
