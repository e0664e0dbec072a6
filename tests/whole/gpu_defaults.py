"""The defaults that a GPU machine resolves to, on a CPU: for tests of the commands.

    GROUPWISE_TEST_DEFAULTS=gpu python -m pytest tests/whole/test_train.py ...

bfloat16 weights, recomputed activations, the step that CUDA graphs record (called instead of
captured), and rollouts that ask only every eighth token how many rows are left. So a test that
passes here and would fail beside a GPU, because it names or assumes a CPU's default, is found.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import grpo.sampling
import models.devices
from models.policy import Policy

ASKED_FOR = os.environ.get("GROUPWISE_TEST_DEFAULTS") == "gpu"


@contextmanager
def defaults_of_a_gpu() -> Iterator[None]:
    """Let every device have a GPU's defaults, inside."""
    usual = Policy.__init__

    def init(policy, *args, **options):
        usual(policy, *args, **options)
        policy.decode_graphs = "stand-in"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.devices, "_has_gpu_defaults", lambda _device: True)
        patch.setattr(Policy, "__init__", init)
        patch.setitem(grpo.sampling.TOKENS_PER_QUESTION, "cpu", 8)
        yield
