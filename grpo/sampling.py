"""Writing completions: our own loop over a key/value cache, greedy or by inverse CDF.

The image is encoded once and the prompt run once per group; the completions of a group continue
from there. Log-probabilities are those of the temperature-scaled distribution after bans, before
top-k and top-p: what the update computes for the same tokens. The logits of one step, (R, V), are
the only ones of the project that exist whole.

Shapes: N prompts, G completions each, B = N * G rows (prompt-major), R rows still being written,
C completion tokens, V vocabulary, D hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.logprobs import logits_logprobs
from models.decode.state import DecodeState
from models.policy import Policy, PromptPass
from models.products import float_product
from models.prompts.prompt import EncodedPrompt

# Rows that ended leave the batch once they are this share of it: copying the cache of the others
# then costs less than computing rows nobody reads.
ENDED_SHARE = 0.25

# Asking how many rows are left waits for the device. A CPU has nothing to wait for; on a GPU the
# host, which runs ahead of it, asks only every so many tokens: rows that ended meanwhile are
# computed and dropped.
TOKENS_PER_QUESTION = {"cpu": 1, "cuda": 8}

# (weights (R, V), rows (R,), token position) -> ids (R,). A row of weights is in proportion to the
# probabilities, which is all that choosing needs: its largest is 1, that of a banned id 0.
Choose = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Completions:
    """Completions of a batch of prompts, on the CPU; all right-padded to the longest one."""

    ids: Tensor  # (B, C) int64; the end token is included, padding behind it
    mask: Tensor  # (B, C) bool; true up to and including the end token
    logprobs: Tensor  # (B, C) float32; 0 where the mask is false
    entropies: Tensor  # (B, C) float32, nats; 0 where the mask is false
    truncated: Tensor  # (B,) bool; no end token within the limit
    texts: list[str]  # B; without the end token


def generate(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    rows_per_prompt: Sequence[int],
    *,
    max_completion_tokens: int,
    temperature: float,
    choose: Choose | None,
    backend: str = "auto",
    prompt_pass: PromptPass | None = None,
) -> Completions:
    """Return one completion per row, its tokens chosen by ``choose``, or the likeliest without it.

    The backend is that of `logits_logprobs`. Given a pass over these prompts, it starts from there.
    """
    with torch.no_grad():
        start = policy.prefill(prompts, rows_per_prompt, max_completion_tokens, prompt_pass)
        return _generate(policy, *start, max_completion_tokens, temperature, choose, backend)


def generate_greedy(
    policy: Policy, prompts: Sequence[EncodedPrompt], max_completion_tokens: int
) -> Completions:
    """Return the completion of each prompt that takes the likeliest token every time."""
    return generate(
        policy,
        prompts,
        [1] * len(prompts),
        max_completion_tokens=max_completion_tokens,
        temperature=1.0,
        choose=None,
    )


def inverse_cdf(uniforms: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> Choose:
    """Return a chooser that samples row r's token t with the number ``uniforms[r, t]``: (B, C)."""

    def choose(weights: Tensor, rows: Tensor, position: int) -> Tensor:
        weights = keep_likeliest(weights, top_k=top_k, top_p=top_p)
        return sample_ids(weights, uniforms[rows, position])

    return choose


def sample_ids(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Return (R,): the first id whose cumulative probability exceeds u times the total.

    The total is the sum's own last value, since in float32 the sum over 151,936 ids ends near
    0.999999 and an id taken past it would be a banned one. An id of probability 0 is never taken,
    but for a row that is not finite, which gets id 0.

    Args:
        probabilities: (R, V), each row of any positive total.
        uniforms: (R,) in [0, 1).
    """
    cumulative = probabilities.cumsum(dim=1)  # (R, V)
    threshold = uniforms[:, None] * cumulative[:, -1:]
    if cumulative.device.type == "cpu":  # summed from left to right, so it never falls
        found = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
        # past the end only where a row is NaN: its log-prob says so, and the update is left out;
        # the id must be one that may stand in a completion, which the last one may not
        return found.where(found < probabilities.shape[1], 0)
    exceeds = (cumulative > threshold) & (probabilities > 0)
    return exceeds.to(torch.int8).argmax(dim=1)  # the first of equals


def keep_likeliest(probabilities: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Return the probabilities with all others set to 0, not rescaled: (R, V).

    Top-p keeps the smallest set of likeliest ids whose total reaches it, so at least one.
    """
    if top_k and top_k < probabilities.shape[1]:
        smallest = probabilities.topk(top_k, dim=1).values[:, -1:]
        probabilities = probabilities.where(probabilities >= smallest, 0.0)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=1, descending=True)
        before = ordered.cumsum(dim=1) - ordered  # what the likelier ones already hold
        ordered = ordered.where(before < top_p * ordered.sum(dim=1, keepdim=True), 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(1, order, ordered)
    return probabilities


def _generate(
    policy: Policy,
    state: DecodeState,
    hidden: Tensor,  # (B, D)
    limit: int,
    temperature: float,
    choose: Choose | None,
    backend: str,
) -> Completions:
    device, num_rows = policy.device, len(hidden)
    ids = torch.full((num_rows, limit), policy.processor.pad_id, device=device)  # (B, C)
    mask = torch.zeros(num_rows, limit, dtype=torch.bool, device=device)
    logprobs = torch.zeros(num_rows, limit, device=device)
    entropies = torch.zeros(num_rows, limit, device=device)
    end_ids = torch.tensor(policy.processor.end_ids, device=device)
    banned_ids = torch.tensor(policy.processor.banned_ids, dtype=torch.long, device=device)

    rows = torch.arange(num_rows, device=device)  # (R,) which rows the state still holds
    live = torch.ones(num_rows, dtype=torch.bool, device=device)  # (R,)
    tokens_per_question = TOKENS_PER_QUESTION.get(device.type, 1)
    for position in range(limit):
        logits = output_logits(hidden, policy.output_weight)  # (R, V)
        if temperature != 1:
            logits.div_(temperature)
        logits.index_fill_(1, banned_ids, float("-inf"))
        if choose is None:  # greedy: no probabilities are needed
            weights, chosen = None, logits.argmax(dim=1)  # (R,)
        else:
            logits.sub_(logits.amax(dim=1, keepdim=True))
            weights = logits.exp()  # (R, V), serves the choice and the score
            chosen = choose(weights, rows, position)
        scores, entropy = logits_logprobs(
            logits, chosen, with_entropy=True, weights=weights, backend=backend
        )
        ids[rows, position] = torch.where(live, chosen, policy.processor.pad_id)
        mask[rows, position] = live
        logprobs[rows, position] = scores * live
        entropies[rows, position] = entropy * live

        live = live & ~torch.isin(chosen, end_ids)
        if position == limit - 1:
            break
        if (position + 1) % tokens_per_question == 0:
            num_live = int(live.sum())  # the only wait for the device
            if num_live == 0:
                break
            if num_live <= (1 - ENDED_SHARE) * len(rows):
                state.select(live.nonzero()[:, 0])
                rows, chosen = rows[live], chosen[live]
                live = torch.ones_like(rows, dtype=torch.bool)
        hidden = policy.decode(state, chosen)

    length = int(mask.sum(dim=1).max())
    mask, ids = mask[:, :length].cpu(), ids[:, :length].cpu()
    truncated = ~_has_end(ids, mask, policy.processor.end_ids)
    texts = [
        policy.processor.decode(row[:count].tolist())
        for row, count in zip(ids, mask.sum(dim=1).tolist(), strict=True)
    ]
    return Completions(
        ids, mask, logprobs[:, :length].cpu(), entropies[:, :length].cpu(), truncated, texts
    )


def _has_end(ids: Tensor, mask: Tensor, end_ids: Sequence[int]) -> Tensor:
    """Return (B,): whether the last written token of each row is an end token."""
    last = ids.gather(1, mask.sum(dim=1, keepdim=True) - 1)[:, 0]
    return torch.isin(last, torch.tensor(end_ids))


def output_logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return (R, V) float32 logits, of half precision too without a rounding."""
    return float_product(hidden, weight.T).float()
