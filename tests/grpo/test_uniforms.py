"""The random numbers of sampling: fixed, uniform, and a function of the token's place alone."""

import numpy as np
import pytest

from grpo.uniforms import token_uniforms

LAYOUT = np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6)


def test_the_numbers_are_fixed_for_all_time():
    # written down once: a resumed run of another version must sample the same tokens
    numbers = token_uniforms(7, 3, np.array([5]), np.array([2]), 3)
    assert numbers.tolist() == [[0.6635653972625732, 0.8110975027084351, 0.8551193475723267]]


def test_any_layout_of_the_rows_gives_each_row_its_own_numbers():
    positions, indices = LAYOUT
    whole = token_uniforms(0, 0, positions, indices, 5)
    order = np.random.default_rng(0).permutation(len(positions))
    shuffled = token_uniforms(0, 0, positions[order], indices[order], 5)
    assert np.array_equal(shuffled, whole[order])
    alone = [token_uniforms(0, 0, positions[[i]], indices[[i]], 5)[0] for i in range(24)]
    assert np.array_equal(np.stack(alone), whole)


def test_a_longer_limit_only_adds_numbers():
    short, long = (token_uniforms(0, 0, *LAYOUT, n) for n in (3, 9))
    assert np.array_equal(long[:, :3], short)


@pytest.mark.parametrize("which", ["seed", "step", "position", "index"])
def test_everything_that_names_a_token_changes_its_number(which):
    def numbers(value):
        arguments = {"seed": 0, "step": 0, "position": 0, "index": 0} | {which: value}
        row = np.array([arguments["position"]]), np.array([arguments["index"]])
        return token_uniforms(arguments["seed"], arguments["step"], *row, 8)

    drawn = np.concatenate([numbers(value) for value in range(50)])
    assert len(np.unique(drawn)) > 395  # of 400; 2^24 values leave room for a rare twin


def test_they_are_uniform_and_independent():
    # 40,000 numbers: the mean's std is 0.0014, a correlation's 0.005; 5 of them are allowed
    numbers = token_uniforms(1, 2, np.repeat(np.arange(1250), 8), np.tile(np.arange(8), 1250), 4)
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.007
    neighbours = [(numbers[:, 0], numbers[:, 1]), (numbers[:-1, 0], numbers[1:, 0])]
    neighbours.append((numbers[::8, 0], numbers[1::8, 0]))
    for left, right in neighbours:
        assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(len(left))
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    chi_square = ((counts - 800) ** 2 / 800).sum()
    assert chi_square < 49 + 5 * np.sqrt(2 * 49)
