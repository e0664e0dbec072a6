"""Orders of the options, and what hand-made answers to them amount to."""

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


def test_orders_differ_and_the_rows_own_is_first():
    for number in range(20):
        orders = option_orders(row(number), 10, seed=0)
        assert orders[0] == (0, 1, 2, 3)
        assert len(set(orders)) == 10
        assert option_orders(row(number), 4, seed=0) == orders[:4]
    assert option_orders(row(0), 10, seed=1) != option_orders(row(0), 10, seed=0)
    assert option_orders(row(1), 10, seed=0) != option_orders(row(0), 10, seed=0)


def test_a_row_has_no_more_orders_than_its_options_allow():
    assert sorted(option_orders(row(0, "WX"), 10, seed=0)) == [(0, 1), (1, 0)]
    assert len(option_orders(row(0), 24, seed=0)) == 24
    passes = permuted_rows([row(0, "WX"), row(1, "WXY")], 4, seed=0)
    assert [[example.id for example, _ in rows] for rows in passes] == [
        ["row-0", "row-1"],
        ["row-1"],
        ["row-1"],
    ]


def test_the_answer_moves_with_its_text_and_the_order_says_where_from():
    for pairs in permuted_rows([row(i) for i in range(5)], 6, seed=0):
        for example, order in pairs:
            assert example.answer_text == "X"
            assert example.options == tuple("WXYZ"[index] for index in order)


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


def test_one_order_compares_nothing():
    with pytest.raises(ValueError, match="1 orders of the options compare nothing: ask for at le"):
        option_orders(row(0), 1, seed=0)
