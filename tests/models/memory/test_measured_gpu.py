"""The estimate against what CUDA's allocator has had at the most. Not yet run on a GPU."""

import pytest
import torch

from grpo.clock import StepClock
from grpo.logprobs.api import TILE_BYTES
from models.memory import Held, Work, estimate_memory
from tests.models.memory.test_measured import Case, made

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_sum_is_within_a_tenth_of_what_cuda_has_allocated(checkpointing, tmp_path):
    case = Case(dtype="bfloat16", checkpointing=checkpointing, side=336, tokens=64, group=8)
    path, policy, step, prompt = made(case, tmp_path, device="cuda:0")
    for index in range(2):
        torch.cuda.reset_peak_memory_stats()
        step(index, StepClock(policy.device))
    held = Held(
        dtype=torch.bfloat16,
        checkpointing=checkpointing,
        on_cuda=True,
        tile_bytes=TILE_BYTES["cuda"],
    )
    work = Work(
        prompts=case.prompts,
        group_size=case.group,
        prompt_tokens=prompt.num_tokens,
        completion_tokens=case.tokens,
        patches=len(prompt.pixel_values),
        budget=case.budget,
    )
    estimate = estimate_memory(path, held, work)
    # neither the context nor what lies idle between blocks is the allocator's to tell
    told = estimate.total - estimate.of("context") - estimate.at_peak["fragmentation"]
    assert told == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.1)
