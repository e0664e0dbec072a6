"""The grounding term: less reward, or smaller advantages, for answers that need no image. Optional.

A model may be right without looking. A number that is the same for a whole group says nothing
about that, since it vanishes in r - mean(group): the term has to differ between completions, or to
come after the normalisation. So there are two of them, both measured on the policy of this step
with the images blank, both without gradient:

    penalty    r[n, g] - weight * p_blank(letter of completion n, g)     before the normalisation
    scale      A[n, g] * (1 - p_blank(right letter of question n))       after the normalisation

Ours, no paper's. Shapes: N prompts (groups), G completions each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.rollout import Rollout
from models.policy import Policy

BLANK_PROBABILITY = "grounding/blank_probability"
LetterProbabilities = Mapping[str, float]  # of one question's options


@dataclass(frozen=True)
class GroundingTerm:
    """What a step subtracts from its rewards and multiplies its advantages by."""

    penalties: Tensor  # (N, G) float64, not negative
    scales: Tensor  # (N, 1) float64, 0 to 1
    measured: Mapping[str, Sequence[float | None]]  # by metric; None where there is no number

    @property
    def metrics(self) -> dict[str, float | None]:
        """The means of what was measured; None where nothing was."""
        known = {name: [p for p in all_ if p is not None] for name, all_ in self.measured.items()}
        return {name: sum(ps) / len(ps) if ps else None for name, ps in known.items()}


Grounding = Callable[[Policy, Rollout], GroundingTerm]


def no_grounding(_policy: Policy, rollout: Rollout) -> GroundingTerm:
    """Return the term that changes nothing, for runs without grounding."""
    num_prompts = len(rollout.batch.prompts)
    return GroundingTerm(
        penalties=torch.zeros(num_prompts, rollout.group_size, dtype=torch.float64),
        scales=torch.ones(num_prompts, 1, dtype=torch.float64),
        measured={},
    )


def penalty_term(
    blank: Sequence[LetterProbabilities | None],
    choices: Sequence[Sequence[str | None]],
    weight: float,
) -> GroundingTerm:
    """Return the term that lowers each reward by its letter's probability under a blank image.

    Args:
        blank: N, the letters' probabilities under the blank image; None where there are none, or
            they were not measured.
        choices: N lists of G, the letter that each completion commits to, or None.
        weight: lambda.

    A completion without a letter, or to a question without probabilities, is not penalised.

    >>> term = penalty_term([{"A": 0.75, "B": 0.25}], [["A", "B", None]], weight=2.0)
    >>> term.penalties.tolist()
    [[1.5, 0.5, 0.0]]
    >>> term.metrics
    {'grounding/blank_probability': 0.5}
    """
    # Of the letter that was chosen, right or wrong: the term knows no answers.
    found = [
        [None if letters is None or choice is None else letters[choice] for choice in group]
        for letters, group in zip(blank, choices, strict=True)
    ]
    penalties = [[weight * (p or 0.0) for p in group] for group in found]  # (N, G)
    return GroundingTerm(
        penalties=torch.tensor(penalties, dtype=torch.float64),
        scales=torch.ones(len(blank), 1, dtype=torch.float64),
        measured={BLANK_PROBABILITY: [p for group in found for p in group]},
    )


def scale_term(
    blank: Sequence[LetterProbabilities | None], answers: Sequence[str], group_size: int
) -> GroundingTerm:
    """Return the term that scales a group's advantages by 1 - p_blank of its right letter.

    Args:
        blank: N, the letters' probabilities under the blank image; None where there are none.
        answers: N right letters.
        group_size: G.

    A question without probabilities is left as it is.

    >>> scale_term([{"A": 0.75, "B": 0.25}, None], ["A", "B"], group_size=2).scales.tolist()
    [[0.25], [1.0]]
    """
    found = [
        None if letters is None else letters[answer]
        for letters, answer in zip(blank, answers, strict=True)
    ]
    return GroundingTerm(
        penalties=torch.zeros(len(blank), group_size, dtype=torch.float64),
        scales=torch.tensor([[1 - (p or 0.0)] for p in found], dtype=torch.float64),
        measured={BLANK_PROBABILITY: found},
    )
