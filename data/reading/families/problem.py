"""The problem family: question and options in one text, the key beside it.

Med-R1's splits of OmniMedVQA (arXiv:2503.13939) hold ``image, problem, solution``: the options
stand inside the problem, the letter inside ``<answer>`` tags.
"""

import re
from string import ascii_uppercase
from typing import Any

from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import text_in
from data.reading.inline import split_options

_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    problem = text_in(row, ["problem"])
    try:
        question, options = split_options(problem)
    except ValueError as error:
        raise RowError(problem, f"(problem) {error}") from error
    solution = text_in(row, ["solution"])
    match = _SOLUTION.fullmatch(solution)
    if match is None:
        raise RowError(solution, "(solution) is not written as '<answer> C </answer>'")
    letters = ascii_uppercase[: len(options)]
    if match[1] not in letters:
        raise RowError(
            solution, f"(solution) is no option: the problem has options A to {letters[-1]}"
        )
    return Row(
        images=images_in(row, ["image", "images"]),
        question=question,
        options=options,
        answer=match[1],
        answer_field="solution",
    )


PROBLEM = RowFamily(
    name="problem",
    published="Med-R1",
    known_by=(("problem",), ("solution", "answer")),
    fields=(
        Field("image", "a path, or a list of paths; absent or null: a question without an image",
              aliases=("images",)),
        Field("problem", "the question and its options, `What is shown? A)CT, B)MRI`"),
        Field("solution", "the letter of the right option, `<answer> B </answer>`"),
    ),
    read=_read,
)  # fmt: skip
