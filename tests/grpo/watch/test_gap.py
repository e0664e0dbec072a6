"""The gap between sampler and update: what counts as rounding, and how often it is told."""

import torch

from grpo.watch.alarms import RECOVERY
from grpo.watch.gap import USUAL_STEPS, GapAlarm

HALF_AND_FULL = (torch.bfloat16, torch.float32)


def gap(mean: float, largest: float) -> dict:
    return {"logprob_gap/mean": mean, "logprob_gap/max": largest}


def test_in_float32_the_largest_gap_counts():
    alarm = GapAlarm(torch.float32)
    assert alarm.look(gap(1e-6, 9e-4)) is None
    assert "mean 0.0001, max 0.0011" in alarm.look(gap(1e-4, 1.1e-3))


def test_in_bfloat16_the_mean_counts_not_the_largest():
    alarm = GapAlarm(torch.bfloat16)
    assert alarm.look(gap(0.04, 0.9)) is None
    assert "disagree" in alarm.look(gap(0.11, 0.2))


def test_float32_is_advised_only_where_it_is_not_the_dtype_already():
    in_half, in_full = (GapAlarm(dtype).look(gap(1.0, 1.0)) for dtype in HALF_AND_FULL)
    assert in_half.endswith("start anew with --dtype float32, and report it with the model's name")
    assert in_full.endswith("sampled: please report it with the model's name")


def test_in_bfloat16_it_also_counts_against_the_runs_first_steps():
    steps = [gap(0.01, 0.1)] * USUAL_STEPS
    alarm = GapAlarm(torch.bfloat16, steps)
    assert alarm.look(gap(0.029, 0.1)) is None
    assert alarm.look(gap(0.031, 0.1)) is not None  # over three times 0.01
    assert GapAlarm(torch.bfloat16, steps).look(gap(0.031, 0.1)) is not None


def test_however_small_the_first_gaps_were_a_small_one_is_none():
    alarm = GapAlarm(torch.bfloat16, [gap(1e-5, 1e-4)] * USUAL_STEPS)
    assert alarm.look(gap(0.019, 0.1)) is None  # 1900 times as large, and far inside any clip range
    assert alarm.look(gap(0.021, 0.1)) is not None


def test_a_gap_is_told_once_and_again_when_it_has_become_worse_or_comes_back():
    alarm = GapAlarm(torch.bfloat16)
    said = [alarm.look(gap(mean, 1.0)) for mean in (0.12, 0.12, 0.15, 0.17, 0.19, 0.25, 0.29, 0.5)]
    # 0.19 is more than 1.5 times 0.12, 0.29 more than 1.5 times 0.19
    assert [text is not None for text in said] == [True, *[False] * 3, True, False, True, True]
    quiet = [alarm.look(gap(0.01, 0.1)) for _ in range(RECOVERY)]
    assert not any(quiet) and alarm.look(gap(0.12, 1.0)) is not None


def test_a_resumed_run_remembers_what_was_told_of_the_gap():
    steps = [gap(0.01, 0.1)] * USUAL_STEPS + [gap(0.04, 1.0)] * 3 + [gap(0.2, 1.0)] * 3
    steps += [gap(None, None), gap(0.01, 0.1), {"loss": 1.0}, gap(0.2, 1.0)]
    whole = GapAlarm(torch.bfloat16)
    said = [whole.look(step) for step in steps]
    assert [i for i, text in enumerate(said) if text] == [USUAL_STEPS, USUAL_STEPS + 3]
    for cut in range(len(steps)):
        resumed = GapAlarm(torch.bfloat16, steps[:cut])
        assert [resumed.look(step) for step in steps[cut:]] == said[cut:]
