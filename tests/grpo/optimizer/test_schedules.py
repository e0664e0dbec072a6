"""The learning rate and the weight of the KL of each step, by hand."""

import pytest

from grpo.optimizer import beta_at, learning_rate_at
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


def betas(total: int, **settings) -> list[float]:
    config = GRPOConfig(**settings)
    return [beta_at(step, total, config) for step in range(total)]


def test_a_constant_beta_is_the_very_number():
    assert betas(3, beta=0.04) == [0.04] * 3 and betas(2, beta=0.0) == [0.0] * 2


def test_beta_falls_to_its_end_which_the_step_after_the_last_would_have():
    falling = betas(4, beta=0.4, beta_schedule="linear")
    assert falling == pytest.approx([0.4, 0.3, 0.2, 0.1])
    to_half = betas(4, beta=0.4, beta_final=0.2, beta_schedule="linear")
    assert to_half == pytest.approx([0.4, 0.35, 0.3, 0.25])


def test_beta_may_rise_from_nothing():
    rising = betas(4, beta=0.0, beta_final=1.0, beta_schedule="cosine")
    assert rising == pytest.approx([0.0, 0.146447, 0.5, 0.853553], abs=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_beta_goes_the_way_of_a_learning_rate_without_a_warm_up(schedule):
    assert betas(7, beta=1.0, beta_schedule=schedule) == rates(7, lr_schedule=schedule)


def test_of_a_longer_run_the_same_step_has_more_left():
    config = GRPOConfig(beta=0.4, beta_schedule="linear", warmup_steps=2)
    assert beta_at(2, 4, config) == pytest.approx(0.2)
    assert beta_at(2, 8, config) == pytest.approx(0.3)
