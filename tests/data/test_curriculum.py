"""Which example stands where with a curriculum: its lag, its draws, and going on to the bit."""

import json
from collections import Counter

import numpy as np
import pytest

from data.curriculum import KEY, Curriculum
from data.examples import VQAExample
from data.order import ExampleOrder
from data.pass_rates import PassRates, learnability_weights
from data.seeded import seeded_key
from data.weighted import weighted_rows

LAG, SIZE, COUNT = 2, 3, 12
OPTIONS = ("CT", "MRI", "PET")


def order(*, seed: int = 5, shuffles: bool = False, count: int = COUNT) -> ExampleOrder:
    rows = [VQAExample(f"CT-{n}", (), "Which?", OPTIONS, "B") for n in range(count)]
    return ExampleOrder(rows, seed, shuffles)


def fresh(**how) -> Curriculum:
    return Curriculum(order(**how), SIZE, LAG)


def resumed(state, step: int) -> Curriculum:
    return Curriculum.of(order(), SIZE, LAG, {**json.loads(json.dumps(state)), "step": step})


def examples_of(curriculum: Curriculum, step: int) -> list[VQAExample]:
    return [curriculum[position] for position in range(step * SIZE, (step + 1) * SIZE)]


def ids_of(curriculum: Curriculum, step: int) -> list[str]:
    return [example.id for example in examples_of(curriculum, step)]


def shares_of(ids: list[str]) -> list[float]:
    """What comes of some examples: of every third row all, of the next some, of the last none."""
    return [(int(id_.split("-")[1]) % 3) / 2 for id_ in ids]


def walk(curriculum: Curriculum, steps: range, *, ahead: int = LAG) -> list[list[str]]:
    """Take steps as a run does: each is read ``ahead`` steps early; return what each showed."""
    shown = []
    for step in steps:
        for early in range(step, min(step + ahead, steps.stop - 1) + 1):
            ids_of(curriculum, early)
        shown.append(ids_of(curriculum, step))
        curriculum.observe(step, shown[-1], shares_of(shown[-1]))
    return shown


def test_a_step_is_drawn_from_all_that_came_before_the_steps_it_is_read_ahead_of():
    shown = walk(fresh(), range(9))
    for step in range(9):
        rates = PassRates(COUNT)
        for ids in shown[: max(0, step - LAG)]:
            rows = [int(id_.split("-")[1]) for id_ in ids]
            rates.add(zip(rows, shares_of(ids), strict=True))
        keys = [seeded_key("curriculum", 5, step * SIZE + place) for place in range(SIZE)]
        uniforms = [(key >> 11) / 2**53 for key in keys]
        rows = weighted_rows(learnability_weights(rates.rates), uniforms)
        assert shown[step] == [f"CT-{row}" for row in rows], step


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_is_shown_does_not_depend_on_how_early_it_is_read(ahead):
    assert walk(fresh(), range(20), ahead=ahead) == walk(fresh(), range(20))


def test_another_outcome_moves_the_weights_of_the_step_after_the_lag_and_of_none_before():
    one, other = (weights_after_first(share) for share in (0.0, 0.5))
    assert one[: 1 + LAG] == other[: 1 + LAG]
    assert one[1 + LAG] < other[1 + LAG] == pytest.approx(12.0)


def weights_after_first(share: float) -> list[float]:
    """Take steps where the first alone has this share; return the size of each step's weights."""
    curriculum, found = fresh(), []
    for step in range(LAG + 2):
        found.append(curriculum.metrics(step)["curriculum/effective_examples"])
        curriculum.observe(step, ids_of(curriculum, step), [share if step == 0 else 0.5] * SIZE)
    return found


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 7, 11])
def test_a_run_that_goes_on_shows_what_one_that_was_never_stopped_does(stop):
    whole, first = fresh(), fresh()
    expected = walk(whole, range(12))
    assert walk(first, range(stop)) == expected[:stop]
    second = resumed(first.state(stop), stop)
    assert walk(second, range(stop, 12)) == expected[stop:]
    assert second.state(12) == whole.state(12)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_the_weights_behind_a_resumption_are_those_of_the_run_that_was_not_stopped(stop):
    whole, first = fresh(), fresh()
    walk(whole, range(stop))
    walk(first, range(stop))
    second = resumed(first.state(stop), stop)
    for step in range(stop, stop + LAG + 1):
        assert second.metrics(step) == whole.metrics(step)


def test_a_step_that_was_told_of_and_dropped_is_not_in_the_state():
    one, other = fresh(), fresh()
    walk(one, range(5))
    walk(other, range(6))
    assert other.state(5) == one.state(5)


def test_the_metrics_of_a_step_are_those_of_the_weights_that_drew_it():
    curriculum = fresh()
    start = {"pass_rate_mean": None, "unseen": 1.0, "effective_examples": 12.0}
    for step in range(1 + LAG):
        assert curriculum.metrics(step) == {
            f"curriculum/{name}": pytest.approx(value) for name, value in start.items()
        }
        curriculum.observe(step, ["CT-0", "CT-1", "CT-2"], [0.0, 1.0, 1.0])
    # after step 0: rates 1/4, 3/4, 3/4 of three rows of 12; weights 0.2125 of these, else 0.275
    found = curriculum.metrics(1 + LAG)
    assert found["curriculum/pass_rate_mean"] == pytest.approx((0.25 + 0.75 + 0.75) / 3)
    assert found["curriculum/unseen"] == pytest.approx(9 / 12)
    whole, squares = 3 * 0.2125 + 9 * 0.275, 3 * 0.2125**2 + 9 * 0.275**2
    assert found["curriculum/effective_examples"] == pytest.approx(whole**2 / squares)


def test_rows_that_are_always_right_or_never_are_shown_rarely_and_none_is_forgotten():
    curriculum, shown = fresh(), Counter()
    for step in range(600):
        ids = ids_of(curriculum, step)
        shown.update(ids)
        # rows 0 .. 5 pass always or never, 6 .. 11 half of the time
        rows = [int(id_.split("-")[1]) for id_ in ids]
        curriculum.observe(step, ids, [float(row < 3) if row < 6 else 0.5 for row in rows])
    decided = [shown[f"CT-{row}"] for row in range(6)]
    open_ = [shown[f"CT-{row}"] for row in range(6, 12)]
    assert min(decided) > 20 and max(decided) * 3 < min(open_)
    assert max(open_) < 1.4 * min(open_)


def test_a_step_shows_no_row_twice_while_there_are_others_and_all_where_there_are_fewer():
    assert all(len(set(ids)) == SIZE for ids in walk(fresh(), range(30)))
    assert sorted(ids_of(fresh(count=2), 0))[:2] != ["CT-0", "CT-0"]
    assert set(ids_of(fresh(count=2), 0)) == {"CT-0", "CT-1"}


def test_another_seed_draws_others():
    assert walk(fresh(), range(6)) != walk(fresh(seed=6), range(6))


def test_what_cannot_be_read_is_replaced_by_all_others_in_turn_and_keeps_its_rate():
    curriculum = fresh()
    drawn = curriculum[1].id
    instead = [curriculum.replacement(1, attempt).id for attempt in range(COUNT - 1)]
    assert len(set(instead)) == COUNT - 1 and drawn not in instead
    assert instead == [fresh().replacement(1, attempt).id for attempt in range(COUNT - 1)]
    first, _, third = ids_of(curriculum, 0)
    curriculum.observe(0, [first, instead[0], third], [0.0, 1.0, 0.0])
    for step in (1, 2):
        curriculum.observe(step, [], [])
    state = curriculum.state(3)[KEY]
    assert int(drawn.split("-")[1]) not in state["rows"]
    assert int(instead[0].split("-")[1]) in state["rows"]


def test_options_are_shuffled_as_the_epoch_has_them():
    curriculum = fresh(shuffles=True)
    per_epoch = COUNT // SIZE
    for step in range(3 * per_epoch):
        for place, example in enumerate(examples_of(curriculum, step)):
            row = int(example.id.split("-")[1])
            plain = order(shuffles=True).shown(row, step // per_epoch * COUNT)
            assert example == plain
            instead = curriculum.replacement(step * SIZE + place, 0)
            row = int(instead.id.split("-")[1])
            assert instead == order(shuffles=True).shown(row, step // per_epoch * COUNT)
            assert instead.answer_text == "MRI"
        curriculum.observe(step, ids_of(curriculum, step), [0.5] * SIZE)


def test_steps_are_told_of_in_turn_with_a_share_for_each_example_and_none_is_read_before_that():
    curriculum = fresh()
    ids = ids_of(curriculum, LAG)  # as far ahead as may be
    with pytest.raises(AssertionError, match="step 3 is read too early"):
        ids_of(curriculum, LAG + 1)
    with pytest.raises(AssertionError, match="step 1 is told of, 0 is next"):
        curriculum.observe(1, ids, [0.5] * SIZE)
    with pytest.raises(ValueError, match="shorter"):
        curriculum.observe(0, ids, [0.5])


def test_the_state_of_a_hundred_thousand_rows_is_some_megabytes_of_json():
    rates = PassRates(100_000)
    rates.add((row, row % 5 / 4) for row in range(100_000))
    rates.rates[:] = np.random.default_rng(0).random(100_000)  # the longest numbers
    assert len(json.dumps({KEY: rates.state}, indent=2)) < 6e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "it is NoneType"),
        ({"recent": None}, "no list of recent steps"),
        ({"recent": [[]]}, "1 recent steps, not 2"),
        ({"recent": [[[12, 0.5]], []]}, "12 is none of 12 rows"),
        ({"recent": [[[1, 2]], []]}, "row 1 has the pass rate 2"),
        ({"examples": 11}, "it is of 11 rows, and there are 12"),
    ],
)
def test_a_state_that_does_not_fit_is_named_with_what_to_do(change, message):
    curriculum = fresh()
    walk(curriculum, range(5))
    state = curriculum.state(5)
    state[KEY] = None if change is None else state[KEY] | change
    with pytest.raises(ValueError, match=message) as found:
        resumed(state, 5)
    assert "trainer/state.json" in str(found.value) and "--resume-from" in str(found.value)


def test_a_fresh_run_needs_no_state():
    curriculum = Curriculum.of(order(), SIZE, LAG, {"step": 0})
    assert walk(curriculum, range(4)) == walk(fresh(), range(4))
