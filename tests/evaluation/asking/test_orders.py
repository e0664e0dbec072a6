"""Orders of the options: how many there are, and where the right answer stands in each."""

import pytest

from data.examples import VQAExample
from evaluation.asking.orders import option_orders, permuted_rows


def row(number, options="WXYZ"):
    return VQAExample(f"row-{number}", (), "Which?", tuple(options), "B")


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


def test_one_order_compares_nothing():
    with pytest.raises(ValueError, match="1 orders of the options compare nothing: ask for at le"):
        option_orders(row(0), 1, seed=0)
