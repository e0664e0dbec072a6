"""A first step as the watch sees it, from completions and questions that are made up."""

from types import SimpleNamespace

import torch

from data.examples import VQAExample
from grpo.methods import SampledStep
from grpo.rollout import PromptBatch, Rollout
from grpo.step import score_completions
from rewards import ParseOnce, load_rewards

LETTER = VQAExample("CT-7", (), "Which organ?", ("Lung", "Heart", "Liver"), "B")
TEXT = VQAExample("slake-3", (), "Which organ?", (), "left lung", form="text")
NUMBER = VQAExample("count-1", (), "How many?", (), "3", form="number")
YES_NO = VQAExample("rad-2", (), "Is it?", ("Yes", "No"), "A", form="yes_no")


def first_step(
    groups: list[tuple[VQAExample, list[str]]],
    *,
    mode: str = "no_think",
    rewards: dict | None = None,
    truncated: bool = False,
) -> SampledStep:
    """Return a step in which each question was answered by its completions."""
    parse = ParseOnce()
    functions = load_rewards(list(rewards or ("accuracy",)), mode, parse, own=_own(rewards))
    batch = PromptBatch((), tuple(item for item, _ in groups), (0,) * len(groups), 0)
    texts = [text for _, group in groups for text in group]
    cut = torch.full((len(texts),), truncated)
    completions = SimpleNamespace(texts=texts, truncated=cut)
    rollout = Rollout(batch, completions, len(groups[0][1]))
    per_fn = score_completions(functions, rollout).float()
    parsed = rollout.for_each(lambda t, e: parse(t, mode, e.options, e.form))
    result = SimpleNamespace(rollout=rollout, rewards_per_fn=per_fn, rewards=per_fn.sum(dim=-1))
    flat = tuple(item for group in parsed for item in group)
    return SampledStep(result, tuple(functions), flat, parse)


def _own(rewards: dict | None) -> dict:
    return {name: fn for name, fn in (rewards or {}).items() if fn is not None}


def answered(*answers: str) -> list[str]:
    """Return completions in the no_think mode's form."""
    return [f"<answer>{answer}</answer>" for answer in answers]
