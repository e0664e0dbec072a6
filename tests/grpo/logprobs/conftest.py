"""The log-prob op on each of its backends."""

import pytest

from tests.grpo.logprobs.logprobs_cases import BACKENDS, Op


@pytest.fixture(params=BACKENDS)
def op(request) -> Op:
    """`token_logprobs` on each backend in turn."""
    if request.param == "emulate":
        request.getfixturevalue("emulator")
    return Op(request.param)
