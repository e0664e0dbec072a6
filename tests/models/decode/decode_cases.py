"""What tests of decoding share: following given tokens, with rows that leave on the way.

Shapes: B rows, C completion tokens, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tests.models.hidden import completion_hidden
from tests.models.nano import random_image


def unlike_prompts(policy) -> list:
    """Three prompts that differ in length, in the number of images and in their size."""
    encode = policy.processor.encode
    wide, tall = random_image(56, 140), random_image(112, 56, seed=1)
    return [
        encode("Which plane?", [wide]),
        encode("Which organ is it?", [tall, wide]),
        encode("Hi"),
    ]


def random_ids(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def teacher_forced(policy, prompts, rows_per_prompt, ids: Tensor) -> Tensor:
    """Return the (B, C, V) log-probs of a forward that knows no cache."""
    hidden = completion_hidden(policy, prompts, rows_per_prompt, ids)
    return torch.log_softmax((hidden @ policy.output_weight.t()).float(), dim=-1)


@torch.no_grad()
def decoded(
    policy,
    prompts,
    rows_per_prompt: Sequence[int],
    ids: Tensor,
    leaving: Mapping[int, Sequence[int]] | None = None,
) -> list[tuple[list[int], Tensor]]:
    """Return, per token, the rows of ``ids`` that are left and their (rows, V) log-probs.

    ``leaving[t]`` lists the rows, by their places among those left, that go on after token t.
    """
    state, hidden = policy.prefill(prompts, rows_per_prompt, ids.shape[1])
    rows = torch.arange(len(ids))
    found = []
    for token in range(ids.shape[1]):
        logits = (hidden @ policy.output_weight.t()).float()
        found.append((rows.tolist(), torch.log_softmax(logits, dim=-1)))
        if token == ids.shape[1] - 1:
            break
        if leaving and token in leaving:
            kept = torch.tensor(leaving[token])
            state.select(kept)
            rows = rows[kept]
            assert state.num_rows == len(rows)
        hidden = policy.decode(state, ids[rows, token].to(policy.device))
    return found


def assert_follows(found, expected: Tensor, atol: float = 1e-5) -> None:
    """Hold every step of `decoded` against (B, C, V)."""
    for token, (rows, logprobs) in enumerate(found):
        torch.testing.assert_close(
            logprobs, expected[rows, token], atol=atol, rtol=0, msg=lambda m, t=token: f"{t}: {m}"
        )
