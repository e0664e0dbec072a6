"""The problem family: question and options in one text, the key beside it.

Med-R1's splits of OmniMedVQA (arXiv:2503.13939) hold ``image, problem, solution``: the options
stand inside the problem, the letter inside ``<answer>`` tags. MedVLM-R1's file (arXiv:2502.19634)
has the bare letter, and question, options and the answer's text apart as well. R1-V, open-r1,
EasyR1 and QoQ-Med ask open questions in the same form.
"""

from dataclasses import replace
from typing import Any

from data.reading.families.asked import asked_in, question_alone
from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in
from data.reading.families.row import Row
from data.reading.families.values import filled_in, is_empty, text_in

_IMAGES = ("image", "images")
_KEYS = ("solution", "answer")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    images = images_in(row, _IMAGES)
    problem = text_in(row, ["problem"])
    asked = asked_in(row, images, problem, filled_in(row, _KEYS), text_field="problem")
    if is_empty(row.get("question")):
        return asked
    question = text_in(row, ["question"])
    return replace(asked, question=question_alone(question, asked.options, "question"))


PROBLEM = RowFamily(
    name="problem",
    published="Med-R1, MedVLM-R1, R1-V, open-r1, EasyR1, QoQ-Med",
    known_by=(("problem",), _KEYS),
    fields=(
        Field("image", "a path or a list of them, or the images themselves (below); absent, null or"
              " an empty list: a question without an image", aliases=("images",)),
        Field("problem", "the question, and its options if `options` has none: `A)CT, B)MRI`,"
              " `(A) CT (B) MRI`, `A. CT`, `A: CT`, on one line or on several, also behind"
              " `Options:`"),
        Field("solution", "the right option's letter, its text or both, bare or inside `<answer>`;"
              " without options yes or no, a number, a text, or a list of labels. Where both names"
              " are there, they must say the same", aliases=("answer",)),
        Field("options", "the options, as in the next family but one; those that the problem lists"
              " must be the same"),
        Field("question", "the question alone; asked in place of the problem"),
    ),
    read=_read,
)  # fmt: skip
