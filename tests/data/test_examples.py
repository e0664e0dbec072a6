"""An example's answer is the letter of one of its options, whoever made the example."""

import pytest

from tests.data.audit_rows import example


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["CT", "MRI"], "C"),  # beyond the options
        (["CT", "MRI"], "a"),
        (["CT", "MRI"], ""),  # in every string
        (["CT", "MRI", "PET"], "AB"),  # two letters in a row are in the alphabet, too
        (["CT"], "A"),  # nothing to choose from
        ([], "A"),
    ],
)
def test_an_answer_that_is_no_options_letter_is_refused(options, answer):
    with pytest.raises(ValueError, match=r"^row-7: answer .* is not the letter of one of the"):
        example("Which?", options, answer, id="row-7")


def test_the_right_options_text_is_that_of_its_letter():
    assert example("Which?", ["CT", "MRI", "PET"], "B").answer_text == "MRI"
