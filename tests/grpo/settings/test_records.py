"""The records that sampler and loss take: the config's own values under the config's own names."""

from dataclasses import asdict, fields

import pytest

from grpo.settings.config import GRPOConfig
from grpo.settings.records import Clip, Sampling

CONFIG = GRPOConfig(
    seed=7,
    temperature=0.7,
    top_k=5,
    top_p=0.9,
    max_completion_tokens=33,
    group_size=6,
    epsilon_low=0.1,
    epsilon_high=0.3,
    beta=0.02,
)


@pytest.mark.parametrize("record", [CONFIG.sampling, CONFIG.clip])
def test_a_record_has_the_configs_values(record):
    defaults = GRPOConfig()
    for name, value in asdict(record).items():
        assert value == getattr(CONFIG, name)
        assert value != getattr(defaults, name)  # so that one left behind would be seen


@pytest.mark.parametrize("record", [Sampling, Clip])
def test_a_record_has_no_defaults_of_its_own(record):
    with pytest.raises(TypeError, match=f"{len(fields(record))} required keyword-only"):
        record()
