"""What a step samples, and how it is cut into micro-batches. A group owns its prompt and image.

Where several processes train one model, each has the prompts and images of its own groups alone. It
samples these, learns what the others have sampled (grpo/everybodys.py), and runs its own again.

Shapes: N prompts (groups), G completions each, B = N * G rows (prompt-major: rows 0..G-1 answer
prompt 0), M rows of a micro-batch, C completion tokens, K ids kept at most.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from grpo.inverse_cdf import inverse_cdf, likeliest_ids
from grpo.sampling import Completions, generate, no_completions
from grpo.settings.config import GRPOConfig
from grpo.settings.records import Sampling
from grpo.uniforms import token_uniforms
from models.policy import Policy, PromptPass
from models.prompts.prompt import EncodedPrompt
from process.ranks import world
from process.signals import end_if_asked

_T = TypeVar("_T")


@dataclass(frozen=True)
class PromptBatch:
    """N image-questions as the model takes them, each image once."""

    prompts: tuple[EncodedPrompt, ...]  # N, or those of this process's own examples
    examples: tuple[Any, ...]  # N; whatever the reward functions want to see
    positions: tuple[int, ...]  # N; where each stands in the run's data order
    step: int  # with the positions and the seed, what the random numbers depend on
    redrawn: tuple[str, ...] = ()  # one sentence per row whose own example could not be read
    first: int = 0  # of the examples, the one that the first prompt is of
    # some of the N places -> the run's next examples for them; None: there are no others
    more: Callable[[Sequence[int]], "PromptBatch"] | None = field(default=None, compare=False)

    @property
    def own(self) -> range:
        """Which of the N examples this process has the prompts of."""
        return range(self.first, self.first + len(self.prompts))

    def prompt_of(self, index: int) -> EncodedPrompt:
        """Return the prompt of one of this process's own examples."""
        return self.prompts[index - self.first]

    def of_own(self) -> "PromptBatch":
        """Return the batch of this process's own examples."""
        own = slice(self.own.start, self.own.stop)
        examples, positions = self.examples[own], self.positions[own]
        return replace(self, examples=examples, positions=positions, first=0)


@dataclass(frozen=True)
class Part:
    """A micro-batch: M completions of a rollout and the prompts they answer, for one forward.

    One without rows is a filler: it holds one completion of one token, and all that is cut for it
    is 0. A process runs it where others still have rows to run, since all run equally many.
    """

    rows: tuple[int, ...]  # M, ascending: which of the rollout's B they are; none of a filler
    prompts: tuple[EncodedPrompt, ...]  # those they answer, each once
    rows_per_prompt: tuple[int, ...]  # adds up to M
    completion_ids: Tensor  # (M, C) int64, on the CPU
    completion_mask: Tensor  # (M, C) bool, on the CPU
    kept: Tensor | None = None  # (M, C, K) int32, on the CPU; as in `Completions`

    @property
    def num_tokens(self) -> int:
        """Of the forward: each prompt once, and every completion."""
        prompts = sum(prompt.num_tokens for prompt in self.prompts)
        return prompts + int(self.completion_mask.sum())

    def cut(self, table: Tensor) -> Tensor:
        """Return this micro-batch's (M, C) of the step's (B, C), or its (M,) of the step's (B,)."""
        if not self.rows:
            return table.new_zeros(self.completion_ids.shape[: table.dim()])
        # The step's C is the longest row's of all; after this part's longest there is only padding.
        rows = list(self.rows)
        if table.dim() == 1:
            return table[rows]
        return table[rows, : self.completion_ids.shape[1]]


@dataclass(frozen=True)
class Rollout:
    """All that a step sampled, on the CPU; a finished step keeps no memory of the device."""

    batch: PromptBatch
    completions: Completions
    group_size: int
    filler: Part | None = None  # where several processes run their own groups of it

    @property
    def completion_mask(self) -> Tensor:
        """(B, C) bool; true up to and including the end token."""
        return self.completions.mask

    def loss_mask(self, mask_truncated: bool) -> Tensor:
        """Return (B, C) bool: the tokens that the loss counts, none of a masked truncated row."""
        if not mask_truncated:
            return self.completion_mask
        return self.completion_mask & ~self.completions.truncated[:, None]

    @property
    def texts(self) -> list[list[str]]:
        """N lists of G completions."""
        texts, size = self.completions.texts, self.group_size
        return [texts[start : start + size] for start in range(0, len(texts), size)]

    def for_each(self, function: Callable[[str, Any], _T]) -> list[list[_T]]:
        """Return N lists of G: what the function makes of each completion and its example."""
        results = []
        for texts, example in zip(self.texts, self.batch.examples, strict=True):
            end_if_asked()  # a reward may take its time
            results.append([function(text, example) for text in texts])
        return results

    def select(self, rows: Sequence[int]) -> Part:
        """Return the micro-batch of these rows (ascending), trimmed to the longest of them."""
        # Rows are prompt-major: a row's number over G is its group's, and those of a group are
        # neighbours, so its prompt stands once for all of them.
        groups, counts = np.unique(np.asarray(rows) // self.group_size, return_counts=True)
        index = torch.as_tensor(rows)  # (M,)
        mask = self.completions.mask[index]  # (M, C) with the step's C
        # After the longest of these rows there is padding in all of them.
        length = int(mask.sum(dim=1).max())
        return Part(
            rows=tuple(rows),
            prompts=tuple(map(self.batch.prompt_of, groups)),
            rows_per_prompt=tuple(counts.tolist()),
            completion_ids=self.completions.ids[index, :length],
            completion_mask=mask[:, :length],
            kept=None if self.completions.kept is None else self.completions.kept[index, :length],
        )

    def parts(self, token_budget: int, groups: Iterable[int] | None = None) -> Iterator[Part]:
        """Yield the rollout in micro-batches of one forward each, cut by `micro_batches`.

        Of several processes each yields its own groups, and then fillers until it has yielded as
        many as the one that has most.

        Args:
            token_budget: the most tokens of a micro-batch, prompts and completions together.
            groups: which of the N to run, ascending; all by default.
        """
        cuts = list(micro_batches(self, token_budget, groups))
        # Agreed before the first: in its forward the others already wait for one another.
        most = len(cuts) if self.filler is None else world().most(len(cuts))
        for rows in cuts:
            end_if_asked()
            yield self.select(rows)
        for _ in range(len(cuts), most):
            assert self.filler is not None, "alone none is missing"
            yield self.filler


def run_prompts_once(
    policy: Policy, batch: PromptBatch, config: GRPOConfig, token_budget: int = 0
) -> PromptPass | None:
    """Return a forward of the prompts, with gradient, that rollout and update both go on from.

    The policy that samples is the one whose gradient is wanted, so the prompts' keys and values are
    the same in both. None where the update could not go on from it: where the policy does not keep
    such a pass (`Policy.keeps_prompt_passes`), or where the step may need several micro-batches.

    Args:
        policy: that samples and is trained.
        batch: of a step.
        config: of the run.
        token_budget: the most tokens of a micro-batch; 0: those of the config.
    """
    # One backward frees the graph of the pass, so all rows must share one micro-batch. How long
    # they get is not known before sampling: every row is counted at its limit.
    rows = len(batch.prompts) * config.group_size
    tokens = sum(prompt.num_tokens for prompt in batch.prompts)
    fits = tokens + rows * config.max_completion_tokens <= (
        token_budget or config.micro_batch_tokens
    )
    if not (fits and policy.keeps_prompt_passes):
        return None
    return policy.run_prompts(batch.prompts)


def sample_rollout(
    policy: Policy,
    batch: PromptBatch,
    sampling: Sampling,
    prompt_pass: PromptPass | None = None,
    backend: str = "auto",
) -> Rollout:
    """Return G completions of each prompt, sampled from the policy as it is; no gradients.

    A token's random number depends on where its example stands in the run, never on which other
    rows are in the batch (grpo/uniforms.py).

    Args:
        policy: the model that samples.
        batch: N prompts.
        sampling: group size, temperature, limits and seed.
        prompt_pass: a pass over these prompts from before; without one they are run here.
        backend: of `logits_logprobs`.
    """
    num_prompts, size = len(batch.prompts), sampling.group_size
    if num_prompts == 0:  # of several processes one may have none
        return Rollout(batch, no_completions(sampling.kept_ids), size)
    # All numbers beforehand, each from where its token stands in the run: no generator has a state
    # that the order of work could change.
    uniforms = token_uniforms(
        sampling.seed,
        batch.step,
        np.repeat(np.array(batch.positions), size),
        np.tile(np.arange(size), num_prompts),
        sampling.max_completion_tokens,
    )  # (B, C)
    limits: Any = {"top_k": sampling.top_k, "top_p": sampling.top_p}
    completions = generate(
        policy,
        batch.prompts,
        [size] * num_prompts,
        max_completion_tokens=sampling.max_completion_tokens,
        temperature=sampling.temperature,
        backend=backend,
        choose=inverse_cdf(
            torch.from_numpy(uniforms).to(policy.device), **({} if sampling.kept_ids else limits)
        ),
        keep=partial(likeliest_ids, **limits) if sampling.kept_ids else None,
        prompt_pass=prompt_pass,
    )
    return Rollout(batch, completions, size)


def micro_batches(
    rollout: Rollout, token_budget: int, groups: Iterable[int] | None = None
) -> Iterator[list[int]]:
    """Yield the rows of one forward after another, in order, each row once.

    Counted are the tokens that are run: every prompt once, and every completion. Whole groups share
    a micro-batch while they fit; a group is split only when it does not fit alone, and a single row
    is never refused. All of this process's own groups, or only those given among them.
    """
    own = rollout.batch.own
    prompt_tokens = {
        group: prompt.num_tokens for group, prompt in zip(own, rollout.batch.prompts, strict=True)
    }
    row_tokens = rollout.completion_mask.sum(dim=1).tolist()  # B
    size = rollout.group_size
    # In the rows' own order, not sorted by length: what micro-batches give is stacked as it comes.
    open_rows: list[int] = []
    open_tokens = 0
    for group in own if groups is None else (group for group in groups if group in own):
        rows = list(range(group * size, (group + 1) * size))
        tokens = prompt_tokens[group] + sum(row_tokens[row] for row in rows)
        # Closed rather than filled with a piece of the group: a piece runs the prompt once more.
        if open_rows and open_tokens + tokens > token_budget:
            yield open_rows
            open_rows, open_tokens = [], 0
        if tokens <= token_budget:
            open_rows += rows
            open_tokens += tokens
        else:
            yield from _split_group(rows, prompt_tokens[group], row_tokens, token_budget)
    if open_rows:
        yield open_rows


def _split_group(
    rows: list[int], prompt_tokens: int, row_tokens: list[int], token_budget: int
) -> Iterator[list[int]]:
    """Yield the rows of a group that does not fit whole; its prompt is run again for each piece."""
    open_rows: list[int] = []
    tokens = prompt_tokens
    for row in rows:
        if open_rows and tokens + row_tokens[row] > token_budget:
            yield open_rows
            open_rows, tokens = [], prompt_tokens
        open_rows.append(row)
        tokens += row_tokens[row]
    yield open_rows
