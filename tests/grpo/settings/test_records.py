"""The records that sampler and loss take: the config's own values under the config's own names."""

from dataclasses import asdict, fields

import pytest

from grpo.settings.config import GRPOConfig
from grpo.settings.records import Comparison, Objective, Sampling

CONFIG = GRPOConfig(
    seed=7,
    temperature=0.7,
    top_k=5,
    top_p=0.9,
    logprob_distribution="filtered",
    max_completion_tokens=33,
    group_size=6,
    epsilon_low=0.1,
    epsilon_high=0.3,
    beta=0.02,
    ratio_level="sequence",
    ratio_cap=3.0,
    kl_estimator="k3_corrected",
    entropy_bonus=0.01,
    advantage_scale="none",
    advantage_baseline="leave_one_out",
)
SAPO = GRPOConfig(surrogate="sapo")
GDPO = GRPOConfig(reward_aggregation="normalize_then_sum")


SETTINGS = {"scale": "advantage_scale", "baseline": "advantage_baseline",
            "aggregation": "reward_aggregation"}  # fmt: skip


@pytest.mark.parametrize("record", ["sampling", "objective", "comparison"])
def test_a_record_has_the_configs_values(record):
    defaults = GRPOConfig()
    for name in asdict(getattr(CONFIG, record)):
        # of names that do not go together another config has one
        config = {"surrogate": SAPO, "aggregation": GDPO}.get(name, CONFIG)
        setting = SETTINGS.get(name, name)
        value = getattr(getattr(config, record), name)
        assert value == getattr(config, setting)
        assert value != getattr(defaults, setting)  # so that one left behind would be seen


@pytest.mark.parametrize("record", [Sampling, Objective, Comparison])
def test_a_record_has_no_defaults_of_its_own(record):
    with pytest.raises(TypeError, match=f"{len(fields(record))} required keyword-only"):
        record()
