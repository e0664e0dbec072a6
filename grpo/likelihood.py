"""Log-probabilities of given completions under a model: the forward of every pass but sampling.

Policy and reference, old log-probabilities and those with gradient, supervised targets too: all go
through `completion_scores`. There the prompts and completions of a micro-batch are packed into
one row of tokens, in which each completion attends to its own prompt and to itself
(models/shared/groups.py has the picture), so prompt and image are computed once for their group,
forward and backward.

Shapes: M rows of a micro-batch (`Part`), C completion tokens, S of them scored, D hidden size, V
vocabulary; B rows of the whole step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from grpo.fitting import TokenBudget
from grpo.logprobs import kept_logprobs, token_logprobs
from grpo.rollout import Part, Rollout
from grpo.settings.config import GRPOConfig
from models.policy import Policy, PromptPass


def completion_logprobs(
    policy: Policy,
    part: Part,
    temperature: float,
    prompt_pass: PromptPass | None = None,
    backend: str = "auto",
    *,
    image_features: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return (M, C) float32 log-probabilities: those of `completion_scores`, with its arguments."""
    logprobs, _ = completion_scores(
        policy, part, temperature, prompt_pass, backend, image_features=image_features
    )
    return logprobs


def completion_scores(
    policy: Policy,
    part: Part,
    temperature: float,
    prompt_pass: PromptPass | None = None,
    backend: str = "auto",
    *,
    image_features: Sequence[Tensor] | None = None,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the log-probabilities of a micro-batch's tokens, and their entropies if asked.

    Both are (M, C) float32 with gradient, and of the distribution that was sampled from: same
    temperature, same banned tokens, same ids kept by top-k and top-p where the part says which. On
    the policy's device; zeros where the mask is false, so that nothing there can become NaN.

    Args:
        policy: the model that scores: the step's policy, or its reference.
        part: M completions and their prompts, each of which is run once for all its rows.
        temperature: of the sampler.
        prompt_pass: a pass over these very prompts from before, under the same weights: only the
            completions are run, and the gradient goes on through it. A pass over other prompts is
            ignored.
        backend: of `token_logprobs`.
        image_features: (T, D) per prompt, in place of running the vision tower on the images.
        with_entropy: whether entropies, in nats, are wanted; else they are None and cost nothing.
    """
    # Where groups without gradient are left out, the pass has more prompts than this part.
    if prompt_pass is not None and prompt_pass.prompts != part.prompts:  # by identity
        prompt_pass = None
    # Only real tokens are run and meet the vocabulary, the widest matrix product of the step.
    hidden = policy.scored_hidden(
        part.prompts,
        part.rows_per_prompt,
        part.completion_ids,
        part.completion_mask.sum(dim=1).tolist(),
        image_features=image_features,
        prompt_pass=prompt_pass,
    )  # (S, D), each the state that predicts one token
    # Row after row, as the hidden states come: where each one's token lies in (M, C), flattened.
    scored = part.completion_mask.flatten().nonzero()[:, 0].to(policy.device)  # (S,)
    ids = part.completion_ids.to(policy.device)  # (M, C)
    scores = hidden, policy.output_weight, ids.flatten()[scored]
    if part.kept is None:
        logprobs, entropies = token_logprobs(
            *scores,
            temperature=temperature,
            banned_ids=policy.processor.banned_ids,
            with_entropy=with_entropy,
            backend=backend,
        )  # (S,) each
    else:
        kept = part.kept[part.completion_mask].to(policy.device)  # (S, K)
        logprobs, entropies = kept_logprobs(
            *scores, kept, temperature=temperature, with_entropy=with_entropy
        )  # (S,) each

    def padded(values: Tensor) -> Tensor:
        # Back into the padded batch that loss and metrics are written in; not in place, so that
        # the gradient finds its way back to the tokens.
        zeros = torch.zeros(ids.numel(), dtype=values.dtype, device=ids.device)  # (M * C,)
        return zeros.index_put((scored,), values).view(ids.shape)

    return padded(logprobs), None if entropies is None else padded(entropies)


@torch.no_grad()
def frozen_logprobs(
    policy: Policy,
    rollout: Rollout,
    config: GRPOConfig,
    budget: TokenBudget | None = None,
    name: str = "update",
) -> Tensor:
    """Return (B, C) log-probabilities of all rows under a model as it is now, without gradient.

    Zeros after a row's end, and in the rows of other processes.

    Cut into micro-batches exactly like the update: a matrix product rounds by its number of rows,
    and on the first pass every ratio should be 1.

    Args:
        policy: the model that scores.
        rollout: B rows.
        config: of the run.
        budget: of a micro-batch; default: the config's.
        name: of the part of the step, for the message where memory runs out.
    """
    table = torch.zeros(rollout.completion_mask.shape, device=policy.device)  # (B, C)

    def fill_in(part: Part) -> None:
        logprobs = completion_logprobs(
            policy, part, config.temperature, backend=config.logprob_backend
        )  # (M, C)
        if part.rows:
            table[list(part.rows), : logprobs.shape[1]] = logprobs

    (budget or TokenBudget(config)).run(name, rollout, fill_in)
    policy.free_gathered()  # no backward will
    return table
