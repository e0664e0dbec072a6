"""The forms in which an answer is asked for, read and judged; a new one is a file and an entry.

A question's form decides what its prompt asks for (data/prompts.py), what the parser reads
(rewards/parsing.py), what is rewarded and what an evaluation counts as right.
"""

from typing import Any

from rewards.forms.answer_form import AnswerForm
from rewards.forms.labels import Labels
from rewards.forms.letter import Letter
from rewards.forms.normal_text import normalised
from rewards.forms.number import Number
from rewards.forms.text import Text
from rewards.forms.yes_no import YesNo

_ALL: tuple[AnswerForm, ...] = (Letter(), YesNo(), Text(), Labels(), Number())
FORMS = {form.name: form for form in _ALL}


def is_right(choice: str | None, example: Any) -> bool:
    """Return whether an answer that was read is the example's; None, no answer, is not."""
    return choice is not None and FORMS[example.form].is_right(choice, example)


__all__ = ["FORMS", "AnswerForm", "is_right", "normalised"]
