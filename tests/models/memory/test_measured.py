"""The estimate against every block that torch allocates in a step, part by part and as a whole."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory_count import Counted, count_steps
from grpo.clock import StepClock
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from models import load_policy
from models.lora.policy import LoraPolicy, WithoutAdapters
from models.lora.settings import LoraSettings
from models.memory import Held, MemoryEstimate, Work, adapter_sizes, estimate_memory
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from rewards.bound import each
from tests.models.nano import flat_config, random_image, write_checkpoint

pytestmark = pytest.mark.slow

BOUND = 0.1  # relative, of every part and of the sum
LEAST = 0.005  # of the sum: parts below are held together
REWARDS = {"letters": each(lambda text, _example: float(len(set(text))))}


@dataclass(frozen=True)
class Case:
    """A setting whose memory is counted."""

    family: str = "qwen2_vl"
    dtype: str = "float32"
    tied: bool = True
    checkpointing: bool = False
    freeze_vision: bool = False
    beta: float = 0.04
    mu: int = 1
    lora: int = 0  # rank
    prompts: int = 2
    group: int = 4
    tokens: int = 16
    question: int = 40  # characters, a token each
    side: int = 112  # pixels
    budget: int = 1 << 20

    @property
    def name(self) -> str:
        """What is not as by default."""
        changed = [f"{k}={v}" for k, v in vars(self).items() if v != getattr(Case, k)]
        return " ".join(changed) or "default"


CASES = (
    Case(),
    Case(family="qwen2_5_vl", tied=False),
    Case(dtype="bfloat16", group=8),
    Case(family="qwen2_5_vl", dtype="bfloat16", checkpointing=True, budget=150),
    Case(checkpointing=True, side=168),
    Case(freeze_vision=True, beta=0.0, tokens=40, question=8, side=56),
    Case(freeze_vision=True, checkpointing=True, dtype="bfloat16", tied=False),
    Case(mu=2, budget=220, prompts=3),
    Case(family="qwen2_5_vl", mu=2, beta=0.0, dtype="bfloat16"),
    Case(budget=140, tokens=24, group=6, question=20),
    Case(lora=4),
    Case(lora=4, dtype="bfloat16", checkpointing=True, family="qwen2_5_vl", budget=150),
    Case(lora=4, dtype="bfloat16", freeze_vision=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_part_and_the_sum_are_within_a_tenth_of_what_is_allocated(case, tmp_path):
    counted, estimate = counted_and_estimated(case, tmp_path)
    least = LEAST * counted.total
    errors = {
        part: estimate.of(part) / max(1, counted.parts.get(part, 0)) - 1
        for part in counted.parts.keys() | estimate.parts.keys()
        if max(counted.parts.get(part, 0), estimate.of(part)) > least
    }
    errors["total"] = estimate.total / counted.total - 1
    assert not {part: error for part, error in errors.items() if abs(error) > BOUND}
    # at least: weights, moments, gradients, activations, and what decoding holds
    assert len(errors) >= 7


def counted_and_estimated(case: Case, folder: Path) -> tuple[Counted, MemoryEstimate]:
    """Return both for a step of a random model that is wide for a test."""
    path, policy, step, prompt = made(case, folder)
    counted = count_steps(step)
    held = Held(
        dtype=policy.dtype,
        checkpointing=case.checkpointing,
        freeze_vision=case.freeze_vision,
        reference="device" if case.beta else "none",
        adapters=adapter_sizes(load_policy(path).model, case.lora, ("text",)),
    )
    work = Work(
        prompts=case.prompts,
        group_size=case.group,
        prompt_tokens=prompt.num_tokens,
        completion_tokens=case.tokens,
        patches=len(prompt.pixel_values),
        budget=case.budget,
        iterations=case.mu,
    )
    return counted, estimate_memory(path, held, work)


@dataclass
class Step:
    """Takes a step of a case; what `count_steps` looks at."""

    policy: Policy
    reference: Policy | None
    optimizer: PolicyOptimizer
    config: GRPOConfig
    case: Case

    def __call__(self, index: int, clock: StepClock) -> None:
        prompts = (self.prompt(index),) * self.case.prompts
        places = tuple(range(len(prompts)))
        batch = PromptBatch(prompts, (None,) * len(prompts), places, index)
        clock.lap("data")
        self.optimizer.start_step(index)
        train_step(self.policy, self.reference, self.optimizer, batch, REWARDS, self.config, clock)
        clock.metrics()

    def prompt(self, index: int) -> EncodedPrompt:
        """Return a question with an image of its own."""
        image = random_image(self.case.side, self.case.side, seed=index)
        return self.policy.processor.encode("x" * self.case.question, [image])


def made(case: Case, folder: Path, device: str = "cpu") -> tuple[Path, Policy, Step, EncodedPrompt]:
    """Return a case's checkpoint, its policy, what takes its steps, and one of its prompts."""
    path = write_checkpoint(folder / "model", case.family, tied=case.tied, changes=wide(case))
    load = {"dtype": case.dtype, "freeze_vision": case.freeze_vision, "device": device}
    policy = load_policy(path, **load, gradient_checkpointing=case.checkpointing)
    if case.lora:
        settings = LoraSettings(case.lora, 2 * case.lora, ("text",))
        policy = LoraPolicy(policy, settings, seed=0, freeze_vision=case.freeze_vision)
        policy.gradient_checkpointing = case.checkpointing
        reference = WithoutAdapters(policy)
    else:
        reference = load_policy(path, **load).requires_grad_(False) if case.beta else None
        if reference is not None:
            reference.share_vision(policy)
    banned = tuple(range(256, 272))  # none ends: every row has its tokens
    for model in (policy, reference):
        if model is not None:
            model.processor = replace(model.processor, banned_ids=banned)
    config = GRPOConfig(
        prompts_per_step=case.prompts,
        group_size=case.group,
        max_completion_tokens=case.tokens,
        micro_batch_tokens=case.budget,
        num_iterations=case.mu,
        beta=case.beta,
        rewards=("letters",),
    )
    optimizer = PolicyOptimizer(policy, config, total_steps=4)
    step = Step(policy, reference, optimizer, config, case)
    return path, policy, step, step.prompt(0)


def wide(case: Case) -> dict[str, Any]:
    """Return changes to the nano config that make its matrices outweigh its vectors."""
    vision = flat_config(case.family)["vision_config"] | {"num_heads": 4, "depth": 3}
    if case.family == "qwen2_vl":
        vision |= {"embed_dim": 96, "hidden_size": 192}
    else:
        vision |= {"hidden_size": 96, "intermediate_size": 240, "out_hidden_size": 192}
    return {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "vocab_size": 800,
        "rope_scaling": {"type": "mrope", "mrope_section": [6, 9, 9]},
        "vision_config": vision,
    }
