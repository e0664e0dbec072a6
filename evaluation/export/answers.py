"""What every evaluator is told of an evaluation: its names, and each row's key and answer in words.

An answer is what the strict parser read of a well-formed completion, never the thought before it;
of any other completion it is empty, since it counts as wrong here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from data.prompts import render_prompt
from evaluation.answers.finished import model_name
from evaluation.answers.prediction import Prediction
from rewards.forms import FORMS

_LONGEST_NAME = 80  # characters of a part of a file's name


class AnsweredRow(NamedTuple):
    """One question as it stands in the data, and the answer to it."""

    item: Prediction
    prompt: str  # the user's turn
    key: str  # the right answer as a completion writes it: a letter, Yes or No, a text, digits
    response: str  # the answer in the same way; empty where none was read


@dataclass(frozen=True)
class Answers:
    """An evaluation as it is exported: the rows as they stand in the data, no control, no order."""

    model: str  # names that a file can have
    dataset: str
    rows: Sequence[AnsweredRow]

    @classmethod
    def of(cls, about: Mapping[str, Any], plain: Sequence[Prediction]) -> "Answers":
        """Return what is exported.

        Args:
            about: summary.json's `evaluation`.
            plain: the answers to the rows as they stand in the data.

        Raises:
            ValueError: what is said of the evaluation, or of an answer, cannot be.
        """
        try:
            sources = list(about["data"]["checksums"])
            template = about["prompt_template"]
            rows = [_answered(item, template) for item in plain]
            return cls(model_name(about["model"]), _dataset_name(sources), rows)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"the answers cannot be exported ({type(error).__name__}: {error}): they are not"
                " as evaluate.py writes them"
            ) from error


def has_letters(item: Prediction) -> bool:
    """Return whether the question's options are shown with letters, one of which is the answer."""
    return FORMS[item.form].lettered


def _answered(item: Prediction, template: str) -> AnsweredRow:
    form = FORMS[item.form]
    response = ""
    if item.well_formed and item.choice is not None:
        response = form.written(replace(item, answer=item.choice))
    prompt = render_prompt(template, item.question, item.options, item.form)
    return AnsweredRow(item, prompt, form.written(item), response)


def _dataset_name(sources: Sequence[str]) -> str:
    """Return a name for the test files.

    >>> _dataset_name(["splits/CT_test.json", "phantoms:Lesion Grading"])
    'CT_test-phantoms-Lesion-Grading'
    """
    stems = "-".join(Path(source).name.partition(".")[0] for source in sources)
    return re.sub(r"[^A-Za-z0-9_]+", "-", stems).strip("-")[:_LONGEST_NAME] or "rows"
