"""Sampling completions: our own loop over a key/value cache, greedy or by inverse CDF.

The image is encoded once and the prompt run once per group; the completions of a group continue
from there. Which token a random number stands for is in grpo/inverse_cdf.py. Log-probabilities are
those of the temperature-scaled distribution after bans, before top-k and top-p, or, where ids are
kept (`Keep`), after them: what the update computes for the same tokens. The logits of one step,
(R, V), are the only ones of the project that exist whole.

Shapes: N prompts, G completions each, B = N * G rows (prompt-major), R rows still being written,
C completion tokens, V vocabulary, D hidden size, K ids kept at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.inverse_cdf import Choose, Keep
from grpo.logprobs import logits_logprobs
from models.policy import Policy, PromptPass
from models.products import float_product
from models.prompts.processor import Processor
from models.prompts.prompt import EncodedPrompt
from process.signals import end_if_asked

# Rows that ended leave the batch once they are this share of it: copying the cache of the others
# then costs less than computing rows nobody reads.
ENDED_SHARE = 0.25

# Asking how many rows are left waits for the device. A CPU has nothing to wait for; on a GPU the
# host, which runs ahead of it, asks only every so many tokens: rows that ended meanwhile are
# computed and dropped.
TOKENS_PER_QUESTION = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class Completions:
    """Completions of a batch of prompts, on the CPU; all right-padded to the longest one."""

    ids: Tensor  # (B, C) int64; the end token is included, padding after it
    mask: Tensor  # (B, C) bool; true up to and including the end token
    logprobs: Tensor  # (B, C) float32; 0 where the mask is false
    entropies: Tensor  # (B, C) float32, nats; 0 where the mask is false
    truncated: Tensor  # (B,) bool; no end token within the limit
    texts: list[str]  # B; without the end token
    kept: Tensor | None = None  # (B, C, K) int32; ids that could be sampled, then -1; None: all

    @property
    def not_finite(self) -> Tensor:
        """(B, C) bool; true where a token's logits held NaN or inf, which its scores then do."""
        return ~(self.logprobs.isfinite() & self.entropies.isfinite())


def no_completions(kept_ids: int = 0) -> Completions:
    """Return the completions of no prompt at all, where tokens are sampled from K kept ids."""
    ids, mask = torch.empty(0, 1, dtype=torch.int64), torch.empty(0, 1, dtype=torch.bool)
    nothing = torch.empty(0, 1)
    kept = torch.empty(0, 1, kept_ids, dtype=torch.int32) if kept_ids else None
    return Completions(ids, mask, nothing, nothing, torch.empty(0, dtype=torch.bool), [], kept)


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    rows_per_prompt: Sequence[int],
    *,
    max_completion_tokens: int,
    temperature: float,
    choose: Choose | None,
    keep: Keep | None = None,
    backend: str = "auto",
    prompt_pass: PromptPass | None = None,
) -> Completions:
    """Return one completion per row, its tokens chosen by ``choose``, or the likeliest without it.

    Args:
        policy: the model that writes.
        prompts: N of them.
        rows_per_prompt: completions of each prompt; they sum to B.
        max_completion_tokens: where a row without an end token is cut off.
        temperature: divides the logits.
        choose: picks one id per row from unnormalised probabilities; None is greedy.
        keep: limits each token to some ids, whose distribution, rescaled, it is chosen from and
            scored by; they are in the result. None: all ids, and `choose` may leave some out.
        backend: of `logits_logprobs`.
        prompt_pass: a pass over these prompts from before; without one they are run here.
    """
    # 1. Every prompt is run once for all its rows. `hidden` predicts each row's next token.
    state, hidden = policy.prefill(prompts, rows_per_prompt, max_completion_tokens, prompt_pass)
    draft = _Draft.of(len(hidden), max_completion_tokens, policy)
    rows = torch.arange(len(hidden), device=policy.device)  # (R,) which rows the state still holds
    live = torch.ones_like(rows, dtype=torch.bool)  # (R,) those that have not ended
    banned_ids = torch.tensor(policy.processor.banned_ids, dtype=torch.long, device=policy.device)
    end_ids = torch.tensor(policy.processor.end_ids, device=policy.device)

    for position in range(max_completion_tokens):
        end_if_asked()
        # 2. The distribution that is sampled from, and that the update will score by.
        logits = _logits(hidden, policy.output_weight, temperature, banned_ids)  # (R, V)

        # 3. One token per row, scored by that distribution whatever top-k and top-p leave of it,
        #    or by what they leave: the few logits of the kept ids then stand for all.
        kept = None if keep is None else _kept(logits, keep)  # (R, K)
        if kept is not None:
            logits = logits.gather(1, kept.clamp(min=0)).masked_fill(kept < 0, float("-inf"))
        chosen, weights = _chosen(logits, choose, rows, position)  # (R,)
        scores, entropy = logits_logprobs(
            logits, chosen, with_entropy=True, weights=weights, backend=backend
        )  # (R,) each
        assert entropy is not None, "asked for"
        if kept is not None:
            chosen = kept.gather(1, chosen[:, None])[:, 0]
            draft.keep(position, rows, kept)
        draft.write(position, rows, live, chosen, scores, entropy)

        # 4. A row ends with its end token; those that ended leave the batch, not one by one.
        live = live & ~torch.isin(chosen, end_ids)
        if position == max_completion_tokens - 1:
            break
        if _asks_who_ended(position, policy.device):
            num_live = int(live.sum())  # the only wait for the device
            if num_live == 0:
                break
            if num_live <= (1 - ENDED_SHARE) * len(rows):
                state.select(live.nonzero()[:, 0])
                rows, chosen = rows[live], chosen[live]
                live = torch.ones_like(rows, dtype=torch.bool)

        # 5. The chosen tokens are what the next ones follow.
        hidden = policy.decode(state, chosen)  # (R, D)
    return draft.completions()


def generate_greedy(
    policy: Policy, prompts: Sequence[EncodedPrompt], max_completion_tokens: int
) -> Completions:
    """Return one completion of each prompt, N in all, by the likeliest token at every position."""
    return generate(
        policy,
        prompts,
        [1] * len(prompts),
        max_completion_tokens=max_completion_tokens,
        temperature=1.0,
        choose=None,
    )


def output_logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return (R, V) float32 logits; those of half-precision states are never rounded to it."""
    return float_product(hidden, weight.T).float()


def _logits(hidden: Tensor, weight: Tensor, temperature: float, banned_ids: Tensor) -> Tensor:
    """Return (R, V) logits divided by the temperature, with banned ids at -inf."""
    logits = output_logits(hidden, weight)
    if temperature != 1:
        logits.div_(temperature)
    return logits.index_fill_(1, banned_ids, float("-inf"))


def _chosen(
    logits: Tensor, choose: Choose | None, rows: Tensor, position: int
) -> tuple[Tensor, Tensor | None]:
    """Return the chosen ids, (R,), and the unnormalised probabilities, (R, V), they came from.

    Greedy choice needs none of these. Else each row of logits, (R, V), is shifted in place so that
    its largest is 0: exp cannot overflow, and the distribution is the same.
    """
    if choose is None:
        return logits.argmax(dim=1), None
    logits.sub_(logits.amax(dim=1, keepdim=True))
    weights = logits.exp()  # serves the choice and the score: one pass over the vocabulary less
    return choose(weights, rows, position), weights


def _kept(logits: Tensor, keep: Keep) -> Tensor:
    """Return the ids that may be sampled, (R, K); the logits, (R, V), are shifted in place.

    In a row that is not finite the shift leaves none that is: its score will say so.
    """
    logits.sub_(logits.amax(dim=1, keepdim=True))
    return keep(logits.exp())


def _asks_who_ended(position: int, device: torch.device) -> bool:
    """Return whether the host asks after this token which rows have ended."""
    return (position + 1) % TOKENS_PER_QUESTION.get(device.type, 1) == 0


@dataclass(frozen=True)
class _Draft:
    """Completions as they are written, on the device, with room for every row's last token."""

    processor: Processor
    ids: Tensor  # (B, limit) int64
    mask: Tensor  # (B, limit) bool
    logprobs: Tensor  # (B, limit) float32
    entropies: Tensor  # (B, limit) float32
    kept: list[Tensor]  # one of (B, limit, K) int32 as soon as ids are kept

    @classmethod
    def of(cls, rows: int, limit: int, policy: Policy) -> "_Draft":
        """Return a draft of B rows without a token yet, on the policy's device."""
        ids = torch.full((rows, limit), policy.processor.pad_id, device=policy.device)  # (B, limit)
        mask = torch.zeros_like(ids, dtype=torch.bool)  # (B, limit)
        logprobs, entropies = (torch.zeros(ids.shape, device=ids.device) for _ in range(2))
        return cls(policy.processor, ids, mask, logprobs, entropies, [])

    def write(
        self,
        position: int,
        rows: Tensor,
        live: Tensor,
        chosen: Tensor,
        scores: Tensor,
        entropy: Tensor,
    ) -> None:
        """Write one token of these rows; all are (R,). A row that has ended gets padding."""
        self.ids[rows, position] = torch.where(live, chosen, self.processor.pad_id)
        self.mask[rows, position] = live
        # not times live: what follows an end may be NaN, and NaN * 0 is NaN
        self.logprobs[rows, position] = scores.where(live, 0.0)
        self.entropies[rows, position] = entropy.where(live, 0.0)

    def keep(self, position: int, rows: Tensor, kept: Tensor) -> None:
        """Write which ids, (R, K), these rows' tokens are taken from."""
        if not self.kept:
            shape = (*self.ids.shape, kept.shape[1])
            self.kept.append(torch.full(shape, -1, dtype=torch.int32, device=self.ids.device))
        self.kept[0][rows, position] = kept.int()

    def completions(self) -> Completions:
        """Return the finished completions on the CPU, cut to the longest one, with their texts."""
        length = int(self.mask.sum(dim=1).max())  # C
        mask, ids = self.mask[:, :length].cpu(), self.ids[:, :length].cpu()
        lengths = mask.sum(dim=1)  # (B,)
        last = ids.gather(1, lengths[:, None] - 1)[:, 0]  # (B,)
        return Completions(
            ids=ids,
            mask=mask,
            logprobs=self.logprobs[:, :length].cpu(),
            entropies=self.entropies[:, :length].cpu(),
            truncated=~torch.isin(last, torch.tensor(self.processor.end_ids)),
            texts=[
                self.processor.decode(row[:count].tolist())
                for row, count in zip(ids, lengths.tolist(), strict=True)
            ],
            kept=self.kept[0][:, :length].cpu() if self.kept else None,
        )
