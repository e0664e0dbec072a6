"""The order of examples: each once per epoch, known at every position, another for another seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.examples import VQAExample
from data.order import ExampleOrder

OPTIONS = ("CT", "MRI", "PET", "X-ray")


def examples(count: int) -> list[VQAExample]:
    return [VQAExample(f"CT-{n}", (), "Which?", OPTIONS, "B") for n in range(count)]


def ids(order: ExampleOrder, start: int, count: int) -> list[str]:
    return [order[position].id for position in range(start, start + count)]


@given(st.integers(1, 40), st.integers(0, 2**64), st.integers(0, 5), st.booleans())
def test_an_epoch_holds_every_example_once(count, seed, epoch, shuffle):
    rows = examples(count)
    seen = ids(ExampleOrder(rows, seed, shuffle), epoch * count, count)
    assert sorted(seen) == sorted(row.id for row in rows)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(0, 9))
def test_a_position_tells_all_whatever_was_asked_before(positions, seed):
    walked = ExampleOrder(examples(23), seed, True)
    for position in positions:
        fresh = ExampleOrder(examples(23), seed, True)
        assert walked[position] == fresh[position]


def test_seeds_and_epochs_have_their_own_orders():
    rows = examples(30)
    runs = [ids(ExampleOrder(rows, seed, False), 0, 60) for seed in (0, 1)]
    orders = {tuple(epoch) for run in runs for epoch in (run[:30], run[30:])}
    assert len({*orders, tuple(row.id for row in rows)}) == 5  # nor is any the file's own


def test_every_example_comes_first_equally_often():
    rows = examples(10)
    first = [ExampleOrder(rows, seed, False)[0].id for seed in range(2_000)]
    # 200 expected of each, with a spread of 13: five spreads either way
    assert all(135 < first.count(row.id) < 265 for row in rows)


def test_options_stay_unless_asked_and_are_shuffled_anew_each_epoch():
    rows = examples(8)
    assert {ExampleOrder(rows, 3, False)[n].options for n in range(16)} == {OPTIONS}
    order = ExampleOrder(rows, 3, True)
    epochs = [{order[e * 8 + n].id: order[e * 8 + n] for n in range(8)} for e in range(3)]
    assert len({tuple(epoch[row.id].options for row in rows) for epoch in epochs}) == 3
    assert all(example.answer_text == "MRI" for epoch in epochs for example in epoch.values())
    assert [row.options for row in rows] == [OPTIONS] * 8


def test_a_known_order_stays_as_it_is():
    # golden: a run resumed by a later version must go on where it was
    seen = [
        int(name.removeprefix("CT-")) for name in ids(ExampleOrder(examples(6), 0, False), 0, 12)
    ]
    assert seen == [3, 0, 2, 1, 5, 4, 3, 5, 0, 1, 2, 4]


@given(st.integers(2, 30), st.integers(0, 9), st.integers(0, 200), st.booleans())
def test_replacements_go_round_all_other_examples_and_move_nothing(count, seed, position, shuffle):
    order = ExampleOrder(examples(count), seed, shuffle)
    own, before = order[position], [order[place] for place in range(position, position + 5)]
    others = [order.replacement(position, attempt) for attempt in range(count - 1)]
    assert sorted(row.id for row in [own, *others]) == sorted(row.id for row in examples(count))
    assert order.replacement(position, count - 1) == others[0]
    assert [order[place] for place in range(position, position + 5)] == before
    fresh = ExampleOrder(examples(count), seed, shuffle)
    assert fresh.replacement(position, 0) == others[0]
    epoch = position // count
    assert all(row == fresh[fresh_place(fresh, row, epoch, count)] for row in others)


def fresh_place(order: ExampleOrder, row: VQAExample, epoch: int, count: int) -> int:
    """Where the epoch has the row itself: with the same order of its options."""
    places = range(epoch * count, (epoch + 1) * count)
    return next(place for place in places if order[place].id == row.id)


def test_replacements_differ_from_place_to_place():
    order = ExampleOrder(examples(40), 0, False)
    distances = {
        (ids(order, 0, 40).index(order.replacement(place, 0).id) - place) % 40
        for place in range(40)
    }
    assert len(distances) > 15


def test_the_only_example_has_no_other():
    assert ExampleOrder(examples(1), 0, False).replacement(3, 0).id == "CT-0"


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="position -1 is before the run's first example"):
        ExampleOrder(examples(3), 0, False)[-1]
    with pytest.raises(ValueError, match="no examples to put in order"):
        ExampleOrder([], 0, False)
