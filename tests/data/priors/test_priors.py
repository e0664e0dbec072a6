"""Text priors: counts worked by hand, and a ranker that finds what was planted."""

import subprocess
import sys
import zlib
from math import log

import numpy as np
import pytest

from data.priors import PRIORS, LinearRanker, OptionLookup, QuestionMajority, fit_all, prior_table
from data.priors.hashed import option_columns
from data.priors.ranker import _part, design_of
from tests.data.audit_rows import example

# cat is offered 3 times and right twice, dog 3 times and right once, Cat once and right once.
TRAIN = [
    example("Q?", ["cat", "dog"], "A"),
    example("Q?", ["dog", "cat"], "B"),
    example("R?", ["cat", "dog"], "B"),
    example("S?", ["Cat", "hen"], "A"),
]


def test_the_lookup_scores_by_how_often_an_option_was_right_where_it_was_offered():
    lookup = OptionLookup().fit(TRAIN)
    row = example("T?", ["dog", "cat", "Cat", "cat."], "A")
    assert lookup.scores(row) == pytest.approx([1 / 3, 2 / 3, 1, 0])
    assert lookup.choose(row) == "C"


def test_the_lookup_takes_the_first_of_equals():
    lookup = OptionLookup().fit(TRAIN)
    assert lookup.choose(example("T?", ["cow", "CAT", "cat "], "B")) == "A"  # all unseen
    assert lookup.choose(example("T?", ["hen", "dog", "dog"], "B")) == "B"


def test_a_row_that_offers_one_string_twice_is_one_row():
    lookup = OptionLookup().fit([example("Q?", ["cat", "no", "no"], "A"), *TRAIN])
    assert lookup.offered["no"] == 1


def test_the_question_majority_takes_the_answer_its_question_had():
    majority = QuestionMajority().fit([*TRAIN, example("R?", ["dog", "cat"], "A")])
    assert majority.scores(example("R?", ["cat", "dog"], "A")) == [0, 2]
    assert majority.scores(example("Q?", ["cat", "dog"], "A")) == [2, 0]


def test_the_question_majority_falls_back_to_the_lookup():
    majority = QuestionMajority().fit(TRAIN)
    new_question = example("new?", ["dog", "cat"], "A")
    not_offered = example("S?", ["dog", "cat"], "A")  # its answer was Cat
    for row in (new_question, not_offered):
        assert majority.scores(row) == OptionLookup().fit(TRAIN).scores(row)


def planted(count: int, mark: str) -> list:
    """Rows of which the right option alone carries a mark; its letter and its words are random."""
    draws = np.random.default_rng(count)
    rows = []
    for _ in range(count):
        options = ["".join(draws.choice(list("abcdefgh"), 6)) for _ in range(4)]
        place = int(draws.integers(4))
        options[place] = mark.format(options[place])
        rows.append(example("Which?", options, "ABCD"[place]))
    return rows


@pytest.mark.parametrize("mark", ["{}.", "no {}", "{} (low)", "{}itis"])
def test_the_ranker_finds_a_mark_on_strings_it_never_saw(mark):
    table = prior_table(planted(400, mark), planted(200, mark))
    assert table["priors"]["linear ranker"]["accuracy"] > 0.95
    assert table["priors"]["lookup"]["accuracy"] < 0.4


def test_the_ranker_finds_nothing_where_nothing_is():
    table = prior_table(planted(400, "{}"), planted(401, "{}"))
    assert table["priors"]["linear ranker"]["accuracy"] == pytest.approx(0.25, abs=0.08)


def test_the_ranker_depends_on_the_question():
    rows = [
        example(f"Is the {thing} seen?", options, "AB"[options.index(right)])
        for thing, right in (("lung", "present"), ("liver", "absent"))
        for options in (["present", "absent"], ["absent", "present"])
        for _ in range(100)
    ]
    ranker = LinearRanker().fit(rows)
    assert ranker.choose(example("Is the lung seen?", ["absent", "present"], "B")) == "B"
    assert ranker.choose(example("Is the liver seen?", ["absent", "present"], "A")) == "A"


def test_the_gradient_is_the_slope_of_the_loss():
    rows = [*planted(3, "{}."), *TRAIN]
    places = np.array(["ABCD".index(row.answer) for row in rows])
    design = design_of(rows)
    ranker = LinearRanker()
    ranker.weights = np.random.default_rng(0).normal(size=len(ranker.weights))

    def loss() -> float:  # row by row, from the public scores
        total = 0.0
        for row, place in zip(rows, places, strict=True):
            chances = np.exp(ranker.scores(row))
            total -= log(chances[place] / chances.sum())
        return total / len(rows)

    gradient = ranker._gradient(design, places)
    for column in np.random.default_rng(1).choice(np.unique(design.columns), 20):
        slopes = []
        for step in (1e-5, -1e-5):
            ranker.weights[column] += step
            slopes.append(loss())
            ranker.weights[column] -= step
        assert gradient[column] == pytest.approx((slopes[0] - slopes[1]) / 2e-5, abs=1e-7)


def test_a_part_of_a_design_is_the_design_of_the_part():
    rows = [*TRAIN, *planted(5, "{}")]
    chosen = [7, 0, 4]
    part, own = _part(design_of(rows), np.array(chosen)), design_of([rows[i] for i in chosen])
    for name in ("columns", "option_starts", "row_starts"):
        assert np.array_equal(getattr(part, name), getattr(own, name)), name


def test_many_rows_are_answered_as_one_by_one():
    priors, rows = fit_all(planted(50, "{}.")), planted(20, "{}.")
    for prior in priors.values():
        assert prior.choose_all(rows) == [prior.choose(row) for row in rows]
        assert prior.choose_all([]) == []


@pytest.mark.command
def test_features_are_the_same_in_every_process():
    code = (
        "import zlib; from tests.data.audit_rows import example;"
        "from data.priors.hashed import *;"
        "row = example('Which organ?', ['Liver.', 'left lung (upper)'], 'A');"
        "print(zlib.crc32(b''.join(c.tobytes() for c in option_columns(row))))"
    )
    row = example("Which organ?", ["Liver.", "left lung (upper)"], "A")
    own = zlib.crc32(b"".join(columns.tobytes() for columns in option_columns(row)))
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == str(own), out.stderr


def test_the_order_of_options_moves_scores_with_them_but_for_the_place():
    row = example("Which?", ["one word", "two.", "Three"], "A")
    turned = example("Which?", ["Three", "one word", "two."], "B")
    for there, here in ((0, 1), (1, 2), (2, 0)):
        one = set(option_columns(row)[there].tolist())
        other = set(option_columns(turned)[here].tolist())
        assert len(one ^ other) == 2  # the feature "place" of each


def test_fitting_again_forgets_and_repeats_itself():
    first, again = LinearRanker().fit(planted(60, "{}.")), LinearRanker().fit(TRAIN)
    again.fit(planted(60, "{}."))
    assert np.array_equal(first.weights, again.weights)


def test_the_table_names_the_rows_that_the_lookup_gets_wrong():
    test = [
        example("Q?", ["dog", "cat"], "B", id="easy"),
        example("Q?", ["dog", "cat", "hen"], "A", id="hard"),
    ]
    table = prior_table(TRAIN, test)
    assert table["lookup_wrong"] == ["hard"]
    assert table["priors"]["lookup"] == {"n": 2, "right": 1, "accuracy": 0.5}
    assert (table["n"], table["chance"]) == (2, pytest.approx((1 / 2 + 1 / 3) / 2))
    assert prior_table(fit_all(TRAIN), test) == table


@pytest.mark.parametrize("name", PRIORS)
def test_no_row_is_an_error_that_says_so(name):
    with pytest.raises(ValueError, match=f"'{name}' has no train row"):
        PRIORS[name]().fit([])
    with pytest.raises(ValueError, match="no test row to score"):
        prior_table(TRAIN, [])
