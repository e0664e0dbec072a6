"""Text priors beside a model's answers: rows they have no answer to, and rows they were fitted on.

The model's answers are those of tests/evaluation/mixed.py.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import evaluate
from evaluation.asking.prior_fitting import check_not_asked, fit_priors
from evaluation.measures.priors import FittedPriors, summarize_priors
from evaluation.measures.summary import summarize
from evaluation.report.extra_text import extra_table
from evaluation.report.summary_html import priors_table
from tests.evaluation.mixed import QUESTIONS, answered

# letter-0 with its options in another order, text-0 as it stands; the other two are new questions
TRAIN = [
    replace(QUESTIONS[0], id="t-0", options=("MRI", "CT", "Ultrasound", "X-Ray"), answer="B"),
    replace(QUESTIONS[4], id="t-1"),
    replace(QUESTIONS[2], id="t-2", images=(Path("other.png"),)),
    replace(QUESTIONS[6], id="t-3", question="How many?", answer="10"),
]


@pytest.fixture
def found():
    return summarize_priors(FittedPriors.on(TRAIN), QUESTIONS, answered())


def test_every_prior_is_counted_over_the_rows_it_has_an_answer_to(found):
    counted = {name: (entry["prior"]["n"], entry.get("left_out")) for name, entry in found.items()}
    assert counted == {
        "lookup": (4, 4),
        "question majority": (8, None),
        "linear ranker": (4, 4),
        "answer majority": (4, 4),
        "nearest question": (4, 4),
    }
    # "left lung" to both texts and 10 to both numbers: one of each is right
    assert found["answer majority"]["prior"]["accuracy"] == 0.5
    assert found["answer majority"]["prior"]["chance"] is None
    # CT is right where it was right, Yes where it was; MRI was offered, and never right
    assert found["lookup"]["prior"]["accuracy"] == 0.5
    assert found["lookup"]["prior"]["chance"] == pytest.approx((1 / 4 + 3 / 2) / 4)
    # wrong where the model is: letter-1 and yes-1, wrong on both
    assert found["lookup"]["model_where_wrong"]["accuracy"] == 0.0


def test_asked_rows_that_a_prior_was_fitted_on_are_counted(found):
    counts = {name: entry.get("fitted_on") for name, entry in found.items()}
    assert counts == {
        "lookup": 1,
        "question majority": 2,
        "linear ranker": 1,
        "answer majority": 1,
        "nearest question": 1,
    }
    new = summarize_priors(FittedPriors.on(TRAIN[2:]), QUESTIONS, answered())
    assert not any("fitted_on" in entry for entry in new.values())


def test_other_options_make_another_question_and_another_image_does():
    fitted = FittedPriors.on(TRAIN)
    assert fitted.knows(QUESTIONS[0]) and fitted.knows(QUESTIONS[4])
    assert not fitted.knows(replace(QUESTIONS[0], options=("CT", "MRI", "X-Ray", "PET")))
    assert not fitted.knows(replace(QUESTIONS[4], images=()))
    assert not fitted.knows(QUESTIONS[5])


def test_the_table_and_the_page_say_both_counts(found):
    summary = {**summarize(answered()), "text_priors": found}
    lines = [" ".join(line.split()) for line in extra_table(summary).splitlines()]
    assert lines.count("rows it was fitted on 1") == 4
    assert lines.count("rows it was fitted on 2") == 1
    assert lines.count("rows it has no answer to 4") == 4
    page = priors_table(summary)
    assert "rows it was fitted on" in page and "rows without an answer" in page
    plain = {name: {**entry, "fitted_on": 0, "left_out": 0} for name, entry in found.items()}
    page = priors_table({"text_priors": plain})
    assert "fitted on" not in page and "without an answer" not in page


def test_a_prior_that_knows_all_questions_is_refused_and_one_that_knows_some_is_not():
    with pytest.raises(ValueError, match=r"fitted on all of the 8 questions .*: name the train"):
        check_not_asked(FittedPriors.on(QUESTIONS), QUESTIONS)
    check_not_asked(FittedPriors.on(QUESTIONS[1:]), QUESTIONS)
    check_not_asked(None, QUESTIONS)
    assert fit_priors([], None) is None


@pytest.mark.model
def test_the_asked_file_is_no_train_file_under_any_name(tmp_path, capsys):
    rows = [{"problem": f"Which is {name}? A) x, B) y", "solution": "A"} for name in ("one", "two")]
    asked, copy = tmp_path / "CT_test.json", tmp_path / "CT_train.json"
    for file in (asked, copy):
        file.write_text(json.dumps(rows), encoding="utf-8")
    flags = ["--model", "tiny", "--json", str(asked), "--image-root", str(tmp_path)]
    flags += ["--limit", "1", "--output-dir", str(tmp_path / "out")]
    for train in (asked, copy):
        assert evaluate.main([*flags, "--text-prior", str(train)]) == 2
        assert "--text-prior is fitted on all of the 1 questions" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
