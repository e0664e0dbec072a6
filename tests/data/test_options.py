"""Reordered options: the law of permutations, and shuffles that depend on their arguments alone."""

import subprocess
import sys
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.examples import VQAExample
from data.options import permute_options, shuffle_options
from tests.places import ROOT

EXAMPLE = VQAExample("CT-3", (), "Which?", ("CT", "MRI", "PET", "X-ray"), "B", "CT")


def any_permutation(length: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(length))


def test_worked_example():
    # new option i is old option permutation[i]: PET, CT, X-ray, MRI; the answer MRI becomes D
    permuted = permute_options(EXAMPLE, [2, 0, 3, 1])
    assert permuted.options == ("PET", "CT", "X-ray", "MRI")
    assert permuted.answer == "D"
    assert (permuted.id, permuted.question, permuted.modality) == ("CT-3", "Which?", "CT")


@given(any_permutation(4), st.sampled_from("ABCD"))
def test_the_answers_letter_follows_its_text(permutation, answer):
    example = VQAExample("a", (), "Which?", ("CT", "MRI", "PET", "X-ray"), answer)
    assert permute_options(example, permutation).answer_text == example.answer_text


def test_of_two_equal_options_the_right_one_stays_right():
    # no reader gives such a row, but the letter must follow the place, not the text
    twice = VQAExample("a", (), "Which?", ("CT", "CT", "MRI"), "B")
    assert permute_options(twice, [1, 2, 0]).answer == "A"
    assert permute_options(twice, [2, 0, 1]).answer == "C"


@given(any_permutation(4), any_permutation(4))
def test_two_permutations_are_one(first, second):
    both = permute_options(permute_options(EXAMPLE, first), second)
    assert both == permute_options(EXAMPLE, [first[j] for j in second])


@given(any_permutation(4))
def test_a_permutation_can_be_undone(permutation):
    inverse = [permutation.index(i) for i in range(4)]
    assert permute_options(permute_options(EXAMPLE, permutation), inverse) == EXAMPLE


@pytest.mark.parametrize("wrong", [[], [0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], [0, 1, 2, 3, 4]])
def test_what_is_no_permutation_is_refused(wrong):
    with pytest.raises(
        ValueError, match=r"CT-3: .* does not reorder 4 options: pass each of 0 to 3"
    ):
        permute_options(EXAMPLE, wrong)


def test_seed_epoch_and_id_each_draw_another_shuffle():
    def orders(prefix: str, seed: int, epoch: int) -> tuple[tuple[str, ...], ...]:
        rows = (VQAExample(f"{prefix}{n}", (), "?", EXAMPLE.options, "A") for n in range(20))
        return tuple(shuffle_options(row, seed, epoch).options for row in rows)

    drawn = [orders("CT-", 0, 0), orders("MRI-", 0, 0), orders("CT-", 1, 0), orders("CT-", 0, 1)]
    assert len(set(drawn)) == 4


def test_every_order_comes_up_equally_often():
    counts = Counter(shuffle_options(EXAMPLE, seed, 0).options for seed in range(4_800))
    assert set(counts) == set(permutations(EXAMPLE.options))
    # 200 expected of each of the 24, with a spread of 14: five spreads either way
    assert all(130 < count < 270 for count in counts.values())


@pytest.mark.command
def test_a_shuffle_does_not_depend_on_pythons_hash():
    code = (
        "from data.examples import VQAExample; from data.options import shuffle_options;"
        "e = VQAExample('CT-3', (), '?', ('CT', 'MRI', 'PET', 'X-ray'), 'B');"
        "print([shuffle_options(e, s, 0).options for s in range(9)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[shuffle_options(EXAMPLE, seed, 0).options for seed in range(9)]}\n"}


def test_a_known_shuffle_stays_as_it_is():
    # golden: a run resumed by a later version must see the same options
    drawn = ["".join(o[0] for o in shuffle_options(EXAMPLE, seed, 7).options) for seed in range(4)]
    assert drawn == ["MXCP", "PCXM", "XCPM", "PCMX"]


@pytest.mark.parametrize(
    "row",
    [
        VQAExample("r", (), "Is it so?", ("Yes", "No"), "B", form="yes_no"),
        VQAExample("r", (), "Where?", (), "left lung", form="text"),
        VQAExample("r", (), "How many?", (), "3", form="number"),
    ],
)
def test_what_has_no_lettered_options_has_no_other_order_of_them(row):
    for epoch in range(6):  # two options would be turned in one of two orders
        assert shuffle_options(row, seed=0, epoch=epoch) is row
    with pytest.raises(ValueError, match="has no order of options"):
        permute_options(row, range(len(row.options)))
