"""A policy without weights: what it would write next is told by a function, so all is known."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor


class Scripted:
    """Writes by a script: the logits of a prompt's t-th token; a prompt is a number.

    Attributes:
        rows_run: of each decode, how many rows it was asked for.
        given: the room and the pass over the prompts that `prefill` got last.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        logits: Callable[[int, int], Sequence[float]],
        *,
        end_ids: tuple[int, ...] = (0,),
        banned_ids: tuple[int, ...] = (),
    ) -> None:
        self._logits = logits
        self.output_weight = torch.eye(len(logits(0, 0)))  # (V, D), so that D = V
        self.processor = SimpleNamespace(
            pad_id=-1,
            end_ids=end_ids,
            banned_ids=banned_ids,
            decode=lambda ids: " ".join(map(str, ids)),
        )
        self.rows_run: list[int] = []
        self.given: tuple[int, object] | None = None

    def prefill(
        self, prompts: Sequence[int], rows_per_prompt: Sequence[int], room: int, prompt_pass: object
    ) -> tuple["State", Tensor]:
        self.given = room, prompt_pass
        state = State(torch.tensor(prompts).repeat_interleave(torch.tensor(rows_per_prompt)))
        return state, self._hidden(state)

    def decode(self, state: "State", token_ids: Tensor) -> Tensor:
        assert token_ids.shape == state.prompts.shape
        self.rows_run.append(len(token_ids))
        state.position += 1
        return self._hidden(state)

    def _hidden(self, state: "State") -> Tensor:
        rows = [self._logits(prompt, state.position) for prompt in state.prompts.tolist()]
        return torch.tensor(rows, dtype=torch.float32)


class State:
    """The rows that are still being written, as their prompts, and how far they are."""

    def __init__(self, prompts: Tensor) -> None:
        self.prompts = prompts  # (R,)
        self.position = 0

    def select(self, rows: Tensor) -> None:
        self.prompts = self.prompts[rows]


def countdown(start: int, position: int) -> list[float]:
    """The logits of 9 ids: a prompt n is followed by n - 1, n - 2, .., 0, and from then on by 8."""
    likeliest = start - 1 - position
    return [2.0 * (id_ == (likeliest if likeliest >= 0 else 8)) for id_ in range(9)]
