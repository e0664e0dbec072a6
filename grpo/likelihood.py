"""Log-probabilities of sampled completions under a model: the one forward of every pass.

Shapes: M rows of a micro-batch, C completion tokens, S of them scored, D hidden size, V vocabulary.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from grpo.logprobs import token_logprobs
from grpo.rollout import Part, Rollout
from grpo.settings.config import GRPOConfig
from models.policy import Policy, PromptPass


def completion_logprobs(
    policy: Policy,
    part: Part,
    temperature: float,
    prompt_pass: PromptPass | None = None,
    *,
    backend: str = "auto",
    image_features: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return (M, C) float32 log-probabilities on the policy's device, with gradient.

    Each prompt runs once for all its rows, each image once. Same temperature and same banned
    tokens as when sampling. Zeros where the mask is false, so that nothing there can become NaN.
    The backend is `token_logprobs`'s. Image features computed before, one (T, D) per prompt, take
    the place of the images; a pass over these very prompts takes the place of both, one over others
    is left alone.
    """
    if prompt_pass is not None and prompt_pass.prompts != part.prompts:  # by identity
        prompt_pass = None
    ids = part.completion_ids.to(policy.device)  # (M, C)
    # Only real tokens are run, and meet the vocabulary, the widest matrix product of the step.
    hidden = policy.scored_hidden(
        part.prompts,
        part.rows_per_prompt,
        part.completion_ids,
        part.completion_mask.sum(dim=1).tolist(),
        image_features=image_features,
        prompt_pass=prompt_pass,
    )  # (S, D)
    scored = part.completion_mask.flatten().nonzero()[:, 0].to(policy.device)  # (S,)
    logprobs, _ = token_logprobs(
        hidden,
        policy.output_weight,
        ids.flatten()[scored],
        temperature=temperature,
        banned_ids=policy.processor.banned_ids,
        backend=backend,
    )
    padded = torch.zeros(ids.numel(), dtype=logprobs.dtype, device=ids.device)
    return padded.index_put((scored,), logprobs).view(ids.shape)


@torch.no_grad()
def frozen_logprobs(policy: Policy, rollout: Rollout, config: GRPOConfig) -> Tensor:
    """Return (B, C) without gradient, on the policy's device.

    Cut into micro-batches exactly like the update, so that the first ratio is exactly 1.
    """
    parts = (
        completion_logprobs(policy, part, config.temperature, backend=config.logprob_backend)
        for part in rollout.parts(config.micro_batch_tokens)
    )
    return stack_rows(parts, rollout.completion_mask.shape[1])


def stack_rows(parts: Iterable[Tensor], num_tokens: int) -> Tensor:
    """Return micro-batches of different length as one (B, C), zeros behind the shorter ones."""
    padded = [torch.nn.functional.pad(part, (0, num_tokens - part.shape[1])) for part in parts]
    return torch.cat(padded)
