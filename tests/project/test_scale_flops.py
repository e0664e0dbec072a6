"""The cost model's operations are those that torch counts in real passes, to the last one."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.rollout import PromptBatch, micro_batches, run_prompts_once, sample_rollout
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.policy import Policy
from models.shared import flash
from models.vision.features import FeatureCache
from scripts.scale.flops import StepFlops, step_flops
from scripts.scale.sizes import sizes_of
from scripts.scale.workload import Workload
from tests.models.nano import FAMILIES, random_image, write_checkpoint
from tests.models.shared.varlen_standin import SLOW

pytestmark = pytest.mark.model

aten, ours = torch.ops.aten, torch.ops.groupwise


def of_flash(query, key, *_, **__):
    batch, heads, queries, size = query
    return 4 * batch * heads * queries * key[2] * size


def of_flash_backward(_grad, query, key, *_, **__):
    return of_flash(query, key) * 5 // 2


def of_head(hidden, weight, *_, **__):
    return 2 * hidden[0] * weight[0] * weight[1]


def of_head_backward(_logprobs, _entropy, hidden, weight, *rest, **__):
    wants_hidden, wants_weight = rest[3:5]
    return (1 + wants_hidden + wants_weight) * of_head(hidden, weight)


def of_sum(_total, factor, weight, *_, **__):
    return 2 * factor[0] * factor[1] * weight[1]


# What torch's counter has no formula for: a CPU's flash, a product added in place, and our
# operators, which it sees as one.
FORMULAS = {
    aten.addmm_: of_sum,
    aten._scaled_dot_product_flash_attention_for_cpu: of_flash,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: of_flash_backward,
    ours.token_logprobs: of_head,
    ours.token_logprobs_backward: of_head_backward,
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """One policy of each family that never ends a completion early."""
    found = {}
    for family in FAMILIES:
        policy = load_policy(write_checkpoint(tmp_path_factory.mktemp(family), family))
        processor = policy.processor
        ends = (*processor.end_ids, *processor.banned_ids)
        policy.processor = replace(processor, banned_ids=tuple(sorted(set(ends))))
        found[family] = policy
    return found


@contextmanager
def as_asked(policy, work):
    """The policy with a frozen tower, with recomputed activations, both or neither."""
    policy.gradient_checkpointing = work.checkpointing
    policy.visual.requires_grad_(not work.frozen_vision)
    yield
    policy.gradient_checkpointing = False
    policy.requires_grad_(True)


def measured(policy, prompts, work, by_loops) -> StepFlops:
    """Return what a step's passes took, its reference being the policy without gradient."""
    config = GRPOConfig(
        prompts_per_step=work.N,
        group_size=work.G,
        max_completion_tokens=work.C,
        micro_batch_tokens=work.budget,
        rewards=("format",),
    )

    def count(run) -> tuple[int, object]:
        by_loops.flops = 0
        with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            result = run()
        return counter.get_total_flops() + by_loops.flops, result

    batch = PromptBatch(prompts, (None,) * work.N, tuple(range(work.N)), 0)
    of_prompts, passed = count(lambda: run_prompts_once(policy, batch, config))
    of_rollout, rollout = count(lambda: sample_rollout(policy, batch, config.sampling, passed))
    if passed is None:
        with torch.no_grad():
            of_prompts, _ = count(lambda: policy.run_prompts(prompts))
        of_rollout -= of_prompts
    of_reference, _ = count(lambda: frozen_logprobs(policy, rollout, config))
    of_update, _ = count(lambda: update(policy, rollout, config, passed))
    assert rollout.completions.ids.shape == (work.B, work.C)
    assert len(list(micro_batches(rollout, work.budget))) == work.micro_batches
    return StepFlops(of_prompts, of_rollout, of_reference, of_update, recomputed=0)


def update(policy, rollout, config, passed):
    for part in rollout.parts(config.micro_batch_tokens):
        completion_logprobs(policy, part, 1.0, passed).sum().backward()
        passed = None


class Counting:
    """Varlen flash by plain loops, whose operations are those that a causal kernel does."""

    def __init__(self) -> None:
        self.flops = 0

    def calls(self) -> flash.Flash:
        return flash.Flash(self._forward, self._backward)

    def _forward(self, query, key, value, queries, keys, **given):
        self.flops += self._of(query, queries, keys, given["causal"])
        with _disable_current_modes():
            return SLOW.forward(query, key, value, queries, keys, **given)

    def _backward(self, grad, query, *rest, **given):
        self.flops += self._of(query, *rest[4:], given["causal"]) * 5 // 2
        with _disable_current_modes():
            return SLOW.backward(grad, query, *rest, **given)

    @staticmethod
    def _of(query, queries, keys, causal):
        lengths = zip(queries.bounds.diff().tolist(), keys.bounds.diff().tolist(), strict=True)
        pairs = sum(q * (q + 1) // 2 if causal else q * k for q, k in lengths)
        return 4 * query.shape[1] * query.shape[2] * pairs


CASES = {
    "one micro-batch, its prompts' pass shared": SimpleNamespace(N=2, G=3, C=5),
    "prompts four times as long as completions": SimpleNamespace(N=2, G=2, C=3),
    "several micro-batches": SimpleNamespace(N=3, G=2, C=9, budget=150),
    "a group cut into pieces": SimpleNamespace(N=2, G=4, C=9, budget=60),
    "recomputed activations": SimpleNamespace(N=2, G=3, C=12, checkpointing=True),
    "a frozen tower": SimpleNamespace(N=2, G=3, C=5, frozen_vision=True),
    "both": SimpleNamespace(N=2, G=3, C=5, frozen_vision=True, checkpointing=True),
    "varlen flash, as on a GPU": SimpleNamespace(N=2, G=3, C=5, varlen=True),
    "the same with recomputed activations": SimpleNamespace(
        **{"N": 3, "G": 2, "C": 9, "budget": 150, "varlen": True, "checkpointing": True}
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_every_phase_of_a_step_takes_what_torch_counts(policies, family, case, monkeypatch):
    policy, given = policies[family], vars(CASES[case])
    by_loops = Counting()
    if "varlen" in given:
        monkeypatch.setattr(flash, "flash_for", lambda *_: by_loops.calls())
    image = random_image(112, 112)  # 8 x 8 patches: two windows a side
    prompts = tuple(policy.processor.encode("Which is it?", [image]) for _ in range(CASES[case].N))
    given = {"budget": 1 << 20, "checkpointing": False, "varlen": False} | given
    work = Workload(P=prompts[0].num_tokens, K=64, **given)
    with as_asked(policy, work):
        if work.frozen_vision:  # what is kept of images is not run again
            policy.feature_cache = FeatureCache()
            policy.image_features(prompts)
        found = measured(policy, prompts, work, by_loops)
    expected = step_flops(sizes_of(policy.model.config), work)
    for phase in ("prompts", "decode", "reference"):
        assert getattr(found, phase) == getattr(expected, phase), phase
    assert found.update == expected.update + expected.recomputed


def test_a_sharded_policys_last_layer_is_run_for_every_token(policies, monkeypatch):
    policy = policies["qwen2_vl"]
    prompts = (policy.processor.encode("Which is it?", [random_image(112, 112)]),)
    given = {"N": 1, "G": 3, "C": 5, "K": 64, "varlen": False, "checkpointing": False}
    work = Workload(P=prompts[0].num_tokens, **given).of_rank(2)
    monkeypatch.setattr(Policy, "calls_whole_layers", True)
    monkeypatch.setattr(Policy, "keeps_prompt_passes", False)
    found = measured(policy, prompts, work, Counting())
    sizes = sizes_of(policy.model.config)
    expected, alone = step_flops(sizes, work), step_flops(sizes, replace(work, sharded=False))
    assert (found.reference, found.update) == (expected.reference, expected.update)
    assert expected.reference > alone.reference
