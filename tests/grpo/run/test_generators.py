"""The states of random generators as tensors: restored they go on with the same numbers."""

import random
import sys

import numpy as np
import pytest
import torch

from grpo.run.generators import generator_tensors, restore_generators, seeded

CPU = torch.device("cpu")


def draw() -> list[float]:
    numbers = [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()]
    return [*numbers, float(torch.rand(())), float(torch.randn(()))]


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**63 - 1])
def test_a_seed_decides_every_number_and_nothing_stays_of_it(seed):
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = draw()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    with seeded(seed):
        first = draw()
    with seeded(seed):
        assert draw() == first
    assert first != expected and draw() == expected
    with seeded(seed ^ 1):
        assert not set(draw()) & set(first)


def test_restored_they_go_on_half_a_pair_of_normal_numbers_included():
    random.seed(3), np.random.seed(3)
    draw()  # an odd number of normal numbers: the second of a pair is put aside
    tensors = {name: tensor.clone() for name, tensor in generator_tensors(CPU).items()}
    assert set(tensors) == {"python", "python/gauss", "numpy", "numpy/gauss", "cpu"}
    expected = draw(), draw()
    draw()
    assert restore_generators(tensors, CPU) == ()
    assert (draw(), draw()) == expected


def test_what_an_earlier_version_did_not_keep_is_named():
    only = {"cpu": generator_tensors(CPU)["cpu"]}
    assert restore_generators(only, CPU) == ("python", "numpy")


def test_a_generator_of_the_users_own_is_left_alone(monkeypatch):
    state = np.random.RandomState(np.random.PCG64(0)).get_state(legacy=False)
    monkeypatch.setattr(np.random, "get_state", lambda: (state["bit_generator"], None, 0, 0, 0.0))
    assert "numpy" not in generator_tensors(CPU)


def test_torch_is_not_imported_for_it_unless_asked(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with seeded(0):
        assert "torch" not in sys.modules
