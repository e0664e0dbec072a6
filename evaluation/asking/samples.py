"""Groups of completions sampled as in training, for what an evaluation needs more than one of.

Same sampler, same uniforms: what is drawn depends on the seed, on where the question stands among
all, and on the completion's number, never on the batch. Shapes: N prompts, G completions each.
"""

from collections.abc import Sequence

import torch

from grpo.finite import check_finite_logits
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.records import Sampling
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt


@torch.no_grad()
def sample_groups(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    positions: Sequence[int],
    *,
    group_size: int,
    max_completion_tokens: int,
    seed: int,
) -> list[list[str]]:
    """Return N lists of G texts, sampled at temperature 1 from the whole distribution.

    Args:
        policy: the model, as it is.
        prompts: N.
        positions: N, where each question stands among all of them.
        group_size: G, at least 2.
        max_completion_tokens: where a completion is cut off.
        seed: of the random numbers.
    """
    sampling = Sampling(
        seed=seed,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        logprob_distribution="full",
        max_completion_tokens=max_completion_tokens,
        group_size=group_size,
    )
    batch = PromptBatch(tuple(prompts), (None,) * len(prompts), tuple(positions), step=0)
    rollout = sample_rollout(policy, batch, sampling)
    names = [f"row {position + 1}" for position in positions for _ in range(group_size)]
    check_finite_logits(policy, rollout.completions, names)
    return rollout.texts
