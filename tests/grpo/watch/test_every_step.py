"""What is said after a step: everything of the first one, then what changed, once."""

from types import SimpleNamespace

import pytest
import torch

from grpo.settings.config import GRPOConfig
from grpo.watch import every_step
from grpo.watch.every_step import StepWatch

CONFIG = GRPOConfig(group_size=4)
POLICY = SimpleNamespace(dtype=torch.float32)
ROLLOUT = SimpleNamespace(
    batch=SimpleNamespace(examples=(SimpleNamespace(id="CT-7"),)), group_size=4, completions=None
)
SAMPLED = SimpleNamespace(well_formed=0.0, result=SimpleNamespace(rollout=ROLLOUT))
HEALTHY = {"unique_completions": 0.9, "truncated": 0.1}
GAP = {"logprob_gap/mean": 0.5, "logprob_gap/max": 0.9}  # nat: far beyond rounding
FAR = {"kl": 9.0}


@pytest.fixture(autouse=True)
def broken(monkeypatch) -> dict[str, str]:
    """What else looks at the rollout: at the image, and at numbers that are not finite."""
    found: dict[str, str] = {}
    monkeypatch.setattr(every_step, "image_warnings", lambda *_: iter(["the image is not seen"]))
    monkeypatch.setattr(every_step, "why_unrewarded", lambda *_: found.get("why"))
    monkeypatch.setattr(every_step, "where_not_finite", lambda _, rows: found.get(rows[3]))
    monkeypatch.setattr(every_step, "advice", lambda _policy: "Lower something.")
    return found


def looked(watch: StepWatch, done: int, **metrics) -> list[str]:
    return list(watch.look(done, HEALTHY | metrics, SAMPLED))


def test_only_the_first_step_of_a_run_is_looked_at_for_what_shows_there():
    first = looked(StepWatch(CONFIG, POLICY, []), 1)
    assert len(first) == 2 and first[1] == "the image is not seen"
    assert looked(StepWatch(CONFIG, POLICY, []), 2) == []


def test_why_nothing_was_rewarded_comes_first_and_speaks_of_the_tags_alone(broken):
    broken["why"] = "no completion was rewarded"
    first = looked(StepWatch(CONFIG, POLICY, []), 1)
    assert first == ["no completion was rewarded", "the image is not seen"]
    assert looked(StepWatch(CONFIG, POLICY, []), 2) == []


def test_of_a_first_step_that_is_not_finite_only_that_is_said(broken):
    broken["CT-7"] = "the log-probabilities of CT-7 are NaN"
    said = looked(StepWatch(CONFIG, POLICY, []), 1)
    assert said == ["step 1: the log-probabilities of CT-7 are NaN. Lower something."]


def test_the_gap_and_the_alarms_are_said_with_their_step_and_once():
    watch = StepWatch(CONFIG, POLICY, [])
    said = [looked(watch, done, **GAP, **FAR) for done in range(2, 14)]
    texts = [text for step in said for text in step]
    assert [text.startswith("step 2: rollout and update disagree") for text in said[0]] == [True]
    assert sum("rollout and update disagree" in text for text in texts) == 1
    assert [text.split(":")[0] for text in texts if "KL to the start model is" in text] == [
        "step 11"
    ]


def without_samples(config: GRPOConfig) -> list[str]:
    watch = StepWatch(config, POLICY, [])
    return [text for done in range(2, 14) for text in watch.look(done, FAR, None)]


def test_where_answers_are_listed_the_alarms_are_said_and_to_the_baseline_they_are_not():
    (said,) = without_samples(GRPOConfig(exact_no_think=True, mode="no_think"))
    assert said.startswith("step 11: the KL to the start model is 9.00")
    assert without_samples(GRPOConfig(method="sft", mode="no_think", beta=0.0)) == []


def test_a_resumed_run_repeats_nothing_that_was_said_before():
    past = [HEALTHY | GAP | FAR for _ in range(12)]
    assert looked(StepWatch(CONFIG, POLICY, past), 13, **GAP, **FAR) == []
