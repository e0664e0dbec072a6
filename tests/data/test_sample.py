"""A limited sample: in proportion at every level, seeded, and the same whatever else happens."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.examples import VQAExample
from data.reading.readers import load_examples
from data.sample import spread_sample

KEYS = ("modality", "question_type", "dataset")
labels = st.tuples(*(st.sampled_from("abc") for _ in KEYS))


def example(number: int, modality: str, question_type: str, dataset: str) -> VQAExample:
    id_ = f"x-{number}"
    return VQAExample(id_, (), "?", ("a", "b"), "A", modality, question_type, dataset)


def rows_of(groups: list[tuple[str, str, str]]) -> list[VQAExample]:
    return [example(number, *group) for number, group in enumerate(groups)]


@given(st.lists(labels, min_size=1, max_size=80), st.data(), st.integers(0, 2**64))
def test_every_group_gets_its_share_rounded_up_or_down(groups, data, seed):
    rows = rows_of(groups)
    limit = data.draw(st.integers(1, len(rows)))
    sample = spread_sample(rows, limit, seed)
    assert len(sample) == len({row.id for row in sample}) == limit
    for depth in range(1, len(KEYS) + 1):
        whole = Counter(tuple(getattr(row, key) for key in KEYS[:depth]) for row in rows)
        drawn = Counter(tuple(getattr(row, key) for key in KEYS[:depth]) for row in sample)
        for group, count in whole.items():
            assert abs(drawn[group] - limit * count / len(rows)) < 1


@given(st.lists(labels, min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 9))
def test_the_sample_keeps_the_order_of_the_whole(groups, limit, seed):
    rows = rows_of(groups)
    sample = spread_sample(rows, limit, seed)
    assert sample == [row for row in rows if row in sample]
    assert sample == rows or len(sample) == limit < len(rows)


def test_the_same_rows_whatever_else_is_drawn_and_however_the_file_is_sorted():
    rows = rows_of([("CT", "q", dataset) for dataset in "abc" * 30])
    sample = spread_sample(rows, 10, 0)
    random.seed(5)
    random.random()
    spread_sample(rows, 50, 1)
    assert spread_sample(rows, 10, 0) == sample
    backwards = spread_sample(rows[::-1], 10, 0)
    assert backwards == sample[::-1]


def test_seeds_draw_different_rows_and_every_row_can_be_drawn():
    rows = rows_of([("CT", "q", dataset) for dataset in "ab" * 10])
    samples = [spread_sample(rows, 5, seed) for seed in range(200)]
    assert len({tuple(row.id for row in sample) for sample in samples}) > 150
    counts = Counter(row.id for sample in samples for row in sample)
    # 50 expected of each, with a spread of 6: five spreads either way
    assert all(20 < counts[row.id] < 80 for row in rows)


def test_no_small_group_is_favoured_by_its_name():
    rows = rows_of([(f"modality {n}", "q", "d") for n in range(10)])
    counts = Counter(row.id for seed in range(400) for row in spread_sample(rows, 3, seed))
    # 120 expected of each, with a spread of 9: five spreads either way
    assert all(75 < counts[row.id] < 165 for row in rows)


@pytest.mark.parametrize("limit", [4, 5, 8, 10, 16, 40])
@pytest.mark.parametrize("seed", range(4))
def test_question_types_keep_their_share_where_a_step_would_fall_on_one_of_them(limit, seed):
    # 8 modalities x 5 types of 20 rows, as the phantoms: every 100th row of 800 is of one type
    types, modalities = "vwxyz", "abcdefgh"
    rows = rows_of([(m, t, "d") for m in modalities for t in types for _ in range(20)])
    sample = spread_sample(rows, limit, seed)
    for name, whole in (("question_type", types), ("modality", modalities)):
        counts = Counter(getattr(row, name) for row in sample)
        assert all(abs(counts[value] - limit / len(whole)) < 1 for value in whole)


def test_no_limit_and_a_large_one_keep_all():
    rows = rows_of([("CT", "q", "d")] * 4)
    for limit in (None, 4, 5, 10**9):
        assert spread_sample(rows, limit, 0) == rows
    assert spread_sample([], 3, 0) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_an_empty_sample_is_refused(limit):
    with pytest.raises(ValueError, match=f"a sample of {limit} examples is empty"):
        spread_sample(rows_of([("CT", "q", "d")]), limit, 0)


def test_a_published_file_sorted_by_data_set_is_spread(shared):
    path = shared / "omnimedvqa_splits" / "test" / "X-Ray_test.json"
    rows = load_examples(path, shared / "omnimedvqa_splits")
    whole = Counter(row.dataset for row in rows)
    drawn = Counter(row.dataset for row in spread_sample(rows, 200, 0))
    assert len({row.dataset for row in rows[:200]}) < 6 < len(drawn)  # the first rows are not
    assert all(abs(drawn[name] - 200 * n / len(rows)) < 1 for name, n in whole.items())
