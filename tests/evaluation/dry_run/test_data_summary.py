"""What a dry run says of its rows."""

import pytest

from evaluation.dry_run.data_summary import described
from tests.evaluation.mixed import QUESTIONS

pytestmark = pytest.mark.unit


def test_rows_of_several_forms_are_counted_by_form_and_options_of_the_lettered_alone():
    lines = list(described(QUESTIONS))
    assert "answers: letter 2, yes or no 2, text 2, number 2" in lines
    assert "options: 2 in 1 rows, 4 in 1 rows" in lines
    assert "images: 0 in 2 rows, 1 in 6 rows" in lines
    assert not any(line.startswith("options") for line in described(QUESTIONS[4:]))
    assert not any(line.startswith("answers") for line in described(QUESTIONS[:2]))
