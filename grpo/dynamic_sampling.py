"""Dynamic sampling: groups that teach nothing are thrown away, and fresh ones take their places.

    while some groups agree and the budget lasts:
        put a group of the run's next question in the place of each of them

Source: DAPO, arXiv:2503.14476, equation 11, which samples until a batch is full of groups whose
completions are neither all right nor all wrong. Here a group is thrown away where all its
advantages are 0, which is what it would teach: rewards that agree after penalties and the grounding
term. As many questions are drawn as places are empty, so none is sampled for nothing, and the data
order goes on behind the last of them: no later step sees them again, none is passed over. Once the
budget is spent, the places that are left keep the groups that were drawn last, with advantages of
0: a step has N groups in any case.

Of several processes each fills its own places, and all have the same scores to decide by.

Shapes: N prompts (groups), G completions each, B = N * G rows, C completion tokens, R reward
functions; k places that are filled anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from grpo.clock import StepClock
from grpo.everybodys import Scored, lengthened
from grpo.grounding import GroundingTerm
from grpo.rollout import PromptBatch
from grpo.sampling import Completions
from grpo.settings.config import GRPOConfig
from models.policy import Policy


@dataclass
class Draws:
    """How often a step has drawn again, and what it threw away."""

    budget: int = 0  # --dynamic-sampling: how often at the most
    pad_id: int = 0  # after a completion that is shorter than others
    refills: int = 0
    num_groups: int = 0  # thrown away, as are these
    num_completions: int = 0
    num_tokens: int = 0
    _rewards: list[Tensor] = field(default_factory=list)  # (k, G, R) of each refill's

    @classmethod
    def of(cls, config: GRPOConfig, policy: Policy) -> "Draws":
        """Return what a step begins with."""
        return cls(config.dynamic_sampling, policy.processor.pad_id)

    def places_to_fill(self, advantages: Tensor) -> list[int]:
        """Return which of the N groups are to go, ascending: none where the budget is spent.

        >>> Draws(budget=1).places_to_fill(torch.tensor([[0.5, -0.5], [0.0, 0.0]]))
        [1]
        """
        return agreeing(advantages) if self.refills < self.budget else []

    def filled(
        self,
        scored: Scored,
        places: Sequence[int],
        sample: Callable[[PromptBatch], Scored],
        clock: StepClock,
    ) -> Scored:
        """Return the step's groups with those of the next questions in these places.

        Args:
            scored: N groups of all processes.
            places: k of them, ascending.
            sample: k prompts -> what all processes have sampled and scored of them.
            clock: the step's.
        """
        rollout, rewards, _ = scored
        rows = _rows(places, rollout.group_size)
        self.refills += 1
        self.num_groups += len(places)
        self.num_completions += len(rows)
        self.num_tokens += int(rollout.completion_mask[rows].sum())
        self._rewards.append(rewards[list(places)])
        assert rollout.batch.more is not None, "a step that draws again is given what from"
        clock.lap("reward", then="data")
        batch = rollout.batch.more(places)
        clock.lap("data")
        return put_in(scored, places, sample(batch), self.pad_id)

    def metrics(
        self, advantages: Tensor, rewards: Tensor, weights: Sequence[float]
    ) -> dict[str, float]:
        """Return what metrics.jsonl says of it; nothing where it is off.

        Args:
            advantages, rewards: (N, G), of the groups that the step ended with.
            weights: of the R reward functions.
        """
        if self.budget == 0:
            return {}
        thrown = [part @ part.new_tensor(weights) for part in self._rewards]  # (k, G) each
        return {
            "dynamic/refills": self.refills,
            "dynamic/drawn_groups": len(rewards) + self.num_groups,
            "dynamic/discarded_groups": self.num_groups,
            "dynamic/discarded_tokens": self.num_tokens,
            "dynamic/short": len(agreeing(advantages)),
            "dynamic/reward": torch.cat([rewards, *thrown]).mean().item(),
        }


def agreeing(advantages: Tensor) -> list[int]:
    """Return which of N groups, (N, G) advantages, teach nothing, ascending.

    >>> agreeing(torch.tensor([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]]))
    [0, 2]
    """
    return (~advantages.any(dim=1)).nonzero()[:, 0].tolist()


def put_in(scored: Scored, places: Sequence[int], fresh: Scored, pad_id: int) -> Scored:
    """Return N groups of which those in k places, ascending, are these k others."""
    (rollout, rewards, term), (others, their_rewards, their_term) = scored, fresh
    index = torch.tensor(places)
    rows = _rows(places, rollout.group_size)
    made = _completions(rollout.completions, others.completions, rows)
    made = replace(made, ids=made.ids.where(made.mask, pad_id))
    return (
        replace(rollout, batch=_batch(rollout.batch, others.batch, places), completions=made),
        rewards.index_copy(0, index, their_rewards),
        GroundingTerm(
            penalties=term.penalties.index_copy(0, index, their_term.penalties),
            scales=term.scales.index_copy(0, index, their_term.scales),
            measured=_measured(term.measured, their_term.measured, places, len(rewards)),
        ),
    )


def _rows(places: Sequence[int], size: int) -> list[int]:
    return [place * size + row for place in places for row in range(size)]


def _batch(batch: PromptBatch, others: PromptBatch, places: Sequence[int]) -> PromptBatch:
    """Return the batch with the others' questions in these places, this process's prompts too."""
    prompts, examples = list(batch.prompts), list(batch.examples)
    positions = list(batch.positions)
    for index, place in enumerate(places):
        examples[place], positions[place] = others.examples[index], others.positions[index]
        if place in batch.own:
            prompts[place - batch.first] = others.prompt_of(index)
    return replace(
        batch,
        prompts=tuple(prompts),
        examples=tuple(examples),
        positions=tuple(positions),
        redrawn=(*batch.redrawn, *others.redrawn),
    )


def _completions(kept: Completions, fresh: Completions, rows: Sequence[int]) -> Completions:
    """Return the completions with the fresh ones as these rows, padded to the longest of all."""
    index, width = torch.tensor(rows), max(kept.ids.shape[1], fresh.ids.shape[1])

    def merged(name: str) -> Tensor:
        whole, part = getattr(kept, name), getattr(fresh, name)
        return lengthened(whole, width).index_copy(0, index, lengthened(part, width))

    mask = merged("mask")  # (B, width)
    longest = int(mask.sum(dim=1).max())  # C: the longest may be gone
    texts = list(kept.texts)
    for row, text in zip(rows, fresh.texts, strict=True):
        texts[row] = text
    return Completions(
        ids=merged("ids")[:, :longest],
        mask=mask[:, :longest],
        logprobs=merged("logprobs")[:, :longest],
        entropies=merged("entropies")[:, :longest],
        truncated=kept.truncated.index_copy(0, index, fresh.truncated),
        texts=texts,
        kept=None if kept.kept is None else merged("kept")[:, :longest],
    )


def _measured(
    kept: Mapping[str, Sequence[float | None]],
    fresh: Mapping[str, Sequence[float | None]],
    places: Sequence[int],
    num_groups: int,
) -> dict[str, list[float | None]]:
    """Return what a grounding term measured, with the fresh groups' numbers in these places."""
    found = {name: list(numbers) for name, numbers in kept.items()}
    for name, numbers in found.items():
        each = len(numbers) // num_groups
        for index, place in enumerate(places):
            theirs = fresh[name][index * each : (index + 1) * each]
            numbers[place * each : (place + 1) * each] = theirs
    return found
