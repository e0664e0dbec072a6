"""The learning rate of each step, by hand."""

import pytest

from grpo.optimizer import learning_rate_at
from grpo.settings.config import GRPOConfig


def rates(total: int, **settings) -> list[float]:
    config = GRPOConfig(learning_rate=1.0, **settings)
    return [learning_rate_at(step, total, config) for step in range(total)]


def test_linear_falls_to_zero_after_the_last_step():
    assert rates(4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_the_warm_up_rises_to_the_peak_and_never_wastes_a_step():
    assert rates(6, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.5])


def test_cosine_is_half_way_down_in_the_middle():
    assert rates(4, lr_schedule="cosine") == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_constant_stays():
    assert rates(3, lr_schedule="constant", warmup_steps=1) == [1.0, 1.0, 1.0]


def test_a_warm_up_as_long_as_the_run_is_all_there_is():
    assert rates(2, warmup_steps=4) == pytest.approx([0.25, 0.5])
