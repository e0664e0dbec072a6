"""What hand-made answers under other orders of the options amount to."""

from string import ascii_uppercase

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.asking.orders import option_orders, permuted_rows
from evaluation.measures.permutations import summarize_permutations


def row(number, options="WXYZ"):
    return VQAExample(f"row-{number}", (), "Which?", tuple(options), "B")


def answer_all(rows, count, choose, seed=0):
    """Return (own, permuted) predictions of a model that is ``choose(options) -> letter``."""

    def predict(example, order=None):
        return judge(
            example,
            f"<answer>{choose(example.options)}</answer>",
            mode="no_think",
            completion_tokens=3,
            truncated=False,
            permutation=order,
        )

    passes = permuted_rows(rows, count, seed)
    permuted = [predict(example, order) for pairs in passes for example, order in pairs]
    return [predict(example) for example in rows], permuted


def letter_of(text):
    return lambda options: ascii_uppercase[options.index(text)]


def test_a_model_that_reads_the_texts_is_right_under_every_order():
    own, permuted = answer_all([row(i) for i in range(10)], 5, letter_of("X"))
    result = summarize_permutations(own, permuted, 5)
    assert (result["n"], result["answers"]) == (10, 50)
    assert (result["accuracy"], result["all_right"], result["text_changes"]) == (1.0, 1.0, 0.0)
    own, permuted = answer_all([row(i) for i in range(10)], 5, letter_of("Z"))
    result = summarize_permutations(own, permuted, 5)
    assert (result["accuracy"], result["any_right"], result["text_changes"]) == (0.0, 0.0, 0.0)


def test_a_model_that_likes_a_letter_looks_good_in_one_order_only():
    rows = [row(i) for i in range(12)]
    own, permuted = answer_all(rows, 24, lambda _options: "B")
    result = summarize_permutations(own, permuted, 24)
    assert all(item.correct for item in own)
    # over all 24 orders the right text stands at B in a quarter
    assert result["accuracy"] == pytest.approx(0.25)
    assert (result["all_right"], result["any_right"], result["text_changes"]) == (0.0, 1.0, 1.0)
    assert {item.permutation for item in permuted if item.id == "row-0"} == set(
        option_orders(rows[0], 24, seed=0)[1:]
    )


def test_rows_with_few_options_weigh_as_much_as_others():
    # right in its own order only: 1 of 2 for two options, 1 of 5 for four
    rows = [row(0, "WX"), row(1)]
    own, permuted = answer_all(rows, 5, lambda options: "B" if options[0] == "W" else "D")
    hits = {
        name: [item.correct for item in (*own, *permuted) if item.id == name]
        for name in ("row-0", "row-1")
    }
    assert [len(some) for some in hits.values()] == [2, 5]
    expected = sum(sum(some) / len(some) for some in hits.values()) / 2
    assert summarize_permutations(own, permuted, 5)["accuracy"] == pytest.approx(expected)


def test_an_order_without_a_choice_is_counted_and_changes_no_text():
    own, permuted = answer_all(
        [row(0)], 4, lambda options: "B" if options == tuple("WXYZ") else "none of them"
    )
    result = summarize_permutations(own, permuted, 4)
    assert (result["text_changes"], result["no_choice"]) == (0.0, 0.75)
    assert (result["accuracy"], result["low"]) == (0.25, None)
