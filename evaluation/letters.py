"""How probable each option's letter was where the completion gave its answer.

The completion's own text is run again up to and including its last ``<answer>``, and the model's
distribution over what follows is read off for the letters of the options, renormalised over them.

One letter can be written in two ways. Qwen2-VL's tokenizer has a token ``>B``, so the text
``<answer>B`` is normally three tokens, ``<``, ``answer``, ``>B``, while the text ``<answer>`` ends
in a token ``>`` that a letter can follow as well. With u the tokens before that last one, g:

    p(letter) = p(">B" | u) + p(g | u) p("B" | u, g)

Reading only the second term would ask the model about a place where it hardly ever is.

Shapes: N prompts, M rows (texts, prompt-major), C tokens of the forced text, D hidden size, S
scored (position, token) pairs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from string import ascii_uppercase

import torch
from torch import Tensor

from grpo.logprobs import token_logprobs
from models.policy import Policy, PromptPass
from models.processor import Processor
from models.prompt import EncodedPrompt

ANSWER_TAG = "<answer>"


@dataclass(frozen=True)
class _Way:
    """One way to write one letter: the product of these tokens' probabilities."""

    letter: str
    tokens: tuple[tuple[int, int], ...]  # (position in the forced text, token id)


@torch.no_grad()
def letter_probabilities(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    completions: Sequence[str],
    option_counts: Sequence[int],
    *,
    rows_per_prompt: Sequence[int] | None = None,
    prompt_pass: PromptPass | None = None,
) -> list[dict[str, float] | None]:
    """Return per completion the probability of each option's letter behind its ``<answer>``.

    Teacher-forced, at temperature 1, banned tokens left out. Each dictionary has one key per
    option and sums to 1; a completion without the tag gives None.

    Args:
        policy: the model whose completions these are.
        prompts: N prompts.
        completions: M texts, as the policy wrote them, in the prompts' order.
        option_counts: M numbers of options, at most 26 each.
        rows_per_prompt: N, how many of the texts stand behind each prompt, which is run once for
            all of them; None: one each.
        prompt_pass: a pass over these very prompts; used where every prompt has a text with the
            tag.
    """
    owners = [
        owner
        for owner, count in enumerate(rows_per_prompt or [1] * len(prompts))
        for _ in range(count)
    ]
    forced = [text[: text.rfind(ANSWER_TAG)] + ANSWER_TAG for text in completions]
    rows = [row for row, text in enumerate(completions) if ANSWER_TAG in text]
    results: list[dict[str, float] | None] = [None] * len(completions)
    if not rows:
        return results
    ids = [policy.processor.encode_completion(forced[row]) for row in rows]
    ways = [
        _ways_to_write(policy.processor, row_ids, ascii_uppercase[: option_counts[row]])
        for row_ids, row in zip(ids, rows, strict=True)
    ]
    counts = Counter(owners[row] for row in rows)  # owner -> rows, ascending as the rows are
    if len(counts) < len(prompts):
        prompt_pass = None
    logprobs = _score_ways(
        policy, [prompts[owner] for owner in counts], list(counts.values()), ids, ways, prompt_pass
    )
    for row, row_ways, row_logprobs in zip(rows, ways, logprobs, strict=True):
        results[row] = _normalise(row_ways, row_logprobs)
    return results


def _ways_to_write(processor: Processor, ids: list[int], letters: str) -> list[_Way]:
    """Return every way in which the tokens ``ids`` can go on with one of the letters."""
    end, last = len(ids), ids[-1]
    ways = []
    for letter in letters:
        (letter_id,) = processor.encode_completion(letter)  # byte-level: always one token
        ways.append(_Way(letter, ((end - 1, last), (end, letter_id))))
        merged = processor.encode_completion(processor.decode([last]) + letter)
        if len(merged) == 1:
            ways.append(_Way(letter, ((end - 1, merged[0]),)))
    return ways


def _score_ways(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    rows_per_prompt: Sequence[int],
    ids: Sequence[list[int]],
    ways: Sequence[Sequence[_Way]],
    prompt_pass: PromptPass | None,
) -> list[list[float]]:
    """Return per row the log-probability of each way: the prompts are run once."""
    lengths = [len(row) + 1 for row in ids]  # one more: what follows the text is predicted too
    pad = policy.processor.pad_id
    padded = [row + [pad] * (max(lengths) - len(row)) for row in ids]
    forced = torch.tensor(padded, device=policy.device)  # (M, C)
    hidden = policy.scored_hidden(
        prompts, rows_per_prompt, forced, lengths, prompt_pass=prompt_pass
    )  # (the sum of lengths, D), row after row
    starts = [0, *accumulate(lengths)]
    scored = {  # equal pairs are scored once: all letters share the token before them
        (row, *token): None for row, some in enumerate(ways) for way in some for token in way.tokens
    }
    where = torch.tensor(
        [(starts[row] + position, token) for row, position, token in scored], device=policy.device
    )  # (S, 2)
    logprobs, _ = token_logprobs(
        hidden[where[:, 0]],
        policy.output_weight,
        where[:, 1],
        banned_ids=policy.processor.banned_ids,
    )
    value = dict(zip(scored, logprobs.tolist(), strict=True))
    return [
        [sum(value[row, *token] for token in way.tokens) for way in some]
        for row, some in enumerate(ways)
    ]


def _normalise(ways: Sequence[_Way], logprobs: Sequence[float]) -> dict[str, float]:
    """Return the letters' probabilities given that one of them is written."""
    shares: Tensor = torch.tensor(logprobs, dtype=torch.float64).softmax(dim=0)
    probabilities = dict.fromkeys((way.letter for way in ways), 0.0)
    for way, share in zip(ways, shares.tolist(), strict=True):
        probabilities[way.letter] += share
    return probabilities
