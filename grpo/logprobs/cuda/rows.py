"""What happens to one tile of logits, by the kernels of logprobs.cu.

This file decides kernel, grid, block and arguments; a launcher runs them: the driver's (driver.py)
on a GPU, the tests' emulator on a CPU.

Shapes in this file: B tokens and K columns of a tile.
"""

from ctypes import c_float, c_int, c_longlong

import torch
from torch import Tensor

from grpo.logprobs.cuda.launch import TILES, Launch, Launcher, pointer
from grpo.logprobs.tile_plan import TilePlan
from grpo.logprobs.tiles import Backend, RowsForBackward

_WARP, _MOST_THREADS = 32, 1024
_VALUES_PER_PASS = 16  # of one thread, as in logprobs.cu: a wide tile's row takes a few passes
_FINALISE_THREADS = 256


def kernel_backend(launcher: Launcher) -> Backend:
    """Return the backend whose kernels ``launcher`` runs; float32 and bfloat16 tiles only."""

    def running_rows(targets: Tensor, plan: TilePlan) -> KernelRows:
        return KernelRows(targets, plan, launcher)

    def grad_logits(
        logits: Tensor, start: int, rows: RowsForBackward, plan: TilePlan, dtype: torch.dtype
    ) -> Tensor:
        launch, out = backward_launch(logits, start, rows, plan, dtype)
        launcher(launch, logits.device)
        return out

    def score(
        logits: Tensor, targets: Tensor, plan: TilePlan, _weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        rows = running_rows(targets, plan)
        rows.fold(logits if logits.stride(1) == 1 else logits.contiguous(), 0)
        logprobs, entropies, _ = rows.finish()
        return logprobs.clone(), entropies  # an operator's results share no memory

    return Backend(running_rows, score, grad_logits)


class KernelRows:
    """Online softmax of a block of tokens by kernels: four floats per token, on the device."""

    def __init__(self, targets: Tensor, plan: TilePlan, launcher: Launcher) -> None:
        self._targets, self._plan, self._launcher = targets, plan, launcher
        # (4, B): top, total, moment, picked. The first fold writes them: nothing is cleared here.
        self._state = targets.new_empty((4, len(targets)), dtype=torch.float32)
        self._is_first = True

    def fold(self, logits: Tensor, start: int) -> None:
        """Take in (B, K) unscaled logits of columns from ``start`` on, rows any distance apart.

        They are only read.
        """
        assert logits.stride(1) == 1, "a row's logits lie one after the other"
        # One block per token: a row's maximum and sums are reduced inside the block.
        launch = Launch(
            kernel=f"forward_{TILES[logits.dtype]}" + "_entropy" * self._plan.with_entropy,
            grid=logits.shape[0],
            block=_threads(logits.shape[1]),
            arguments=(
                pointer(logits),
                c_longlong(logits.stride(0)),
                c_int(logits.shape[1]),
                c_longlong(start),
                c_float(1 / self._plan.temperature),
                pointer(self._targets),
                c_longlong(self._plan.ignore_index),
                *map(pointer, self._state),
                c_int(self._is_first),
            ),
        )
        self._launcher(launch, logits.device)
        self._is_first = False

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probs (B,), entropies (B,) or (0,), and log-sum-exps (B,)."""
        # One thread per token: its row is four numbers by now.
        num_tokens, with_entropy = len(self._targets), self._plan.with_entropy
        logprobs, lses = torch.empty_like(self._state[:2])  # (B,) each
        entropies = logprobs.new_empty(num_tokens if with_entropy else 0)
        launch = Launch(
            kernel="finalise",
            grid=-(-num_tokens // _FINALISE_THREADS),
            block=_FINALISE_THREADS,
            arguments=(
                c_longlong(num_tokens),
                pointer(self._targets),
                c_longlong(self._plan.ignore_index),
                *map(pointer, self._state),
                pointer(logprobs),
                pointer(entropies),
                pointer(lses),
                c_int(with_entropy),
            ),
        )
        self._launcher(launch, self._state.device)
        return logprobs, entropies, lses


def backward_launch(
    logits: Tensor, start: int, rows: RowsForBackward, plan: TilePlan, dtype: torch.dtype
) -> tuple[Launch, Tensor]:
    """Return the launch that writes the gradient of the logits, and where it writes it.

    In place if the element types agree; a float32 tile of bfloat16 hidden states needs half a tile
    more, so that its products run on the tensor cores.
    """
    out = logits
    if logits.dtype != dtype:  # of the same strides, since the kernel has one for both
        out = logits.new_empty_strided(logits.shape, logits.stride(), dtype=dtype)
    assert logits.data_ptr() % 16 == out.data_ptr() % 16 == 0, "vector stores would be misaligned"
    with_entropy = rows.grad_entropy is not None
    name = f"backward_{TILES[logits.dtype]}_to_{TILES[dtype]}" + "_entropy" * with_entropy
    launch = Launch(
        kernel=name,
        grid=logits.shape[0],
        block=_threads(logits.shape[1]),
        arguments=(
            pointer(logits),
            pointer(out),
            c_longlong(logits.stride(0)),
            c_int(logits.shape[1]),
            c_longlong(start),
            c_float(1 / plan.temperature),
            pointer(rows.targets),
            c_longlong(plan.ignore_index),
            pointer(rows.lse),
            pointer(rows.entropy if with_entropy else None),
            pointer(rows.grad_logprobs),
            pointer(rows.grad_entropy),
        ),
    )
    return launch, out


def _threads(columns: int) -> int:
    """Return how many threads walk along a row: one pass each if the row is not too long."""
    warps = -(-columns // (_WARP * _VALUES_PER_PASS))
    return min(_MOST_THREADS, warps * _WARP)
