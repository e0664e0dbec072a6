"""AdamW whose moments take 2 bytes per weight, not 8: codes of 8 bits and a scale per block.

Each block of 256 neighbours within a row has a scale, its largest absolute value; a code names one
of 256 numbers between -1 and 1 (0 and 1 for the squares), which lie closer together near 0. Only
what is kept from step to step is rounded: the update itself is made in float32 of the moments as
they were read and the new gradient. Source: block-wise dynamic quantization, arXiv:2110.02861; the
kernels, of CUDA and of CPUs, are the library bitsandbytes'.

Few weights that matter much, such as norms and biases, keep float32 moments, and so do those whose
rows are no whole number of blocks: a block then never lies in two processes' rows, and moments that
were saved by several are read by any other number of them.

Shapes: a weight has R rows of D numbers, whatever its dimensions: D is a multiple of 256.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from grpo.moments.library import bitsandbytes_functions
from models.sharding.rows import local_rows

BLOCK = 256  # the library's kernels have it built in
SMALLEST = 4096  # numbers; the library's own default
Layout = dict[str, tuple[torch.Size, torch.dtype]]  # of a weight's state, by key


class AdamW8bit(torch.optim.Optimizer):
    """AdamW with 8-bit moments; its ``state`` holds plain tensors, which `layout` describes."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        """Take groups of float32 weights, each with its ``weight_decay``, as torch's AdamW does.

        Raises:
            ValueError: the library is not installed, or does not run on the weights' device.
        """
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        weights = [weight for group in self.param_groups for weight in group["params"]]
        self._library = bitsandbytes_functions(weights[0].device if weights else "cpu")

    @torch.no_grad()
    def step(self, _closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)

    def _move(self, weight: Tensor, group: Mapping[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state |= self.fresh_state(weight)
        state["step"] += 1
        # Of a sharded weight the rows that lie here, with the moments of these.
        own = {key: local_rows(value)[1] for key, value in state.items()}
        assert weight.grad is not None
        rows, gradient = local_rows(weight)[1], local_rows(weight.grad)[1].contiguous()
        assert rows.is_contiguous(), "the kernels know a weight by its address"
        if rows.numel() == 0:
            return
        (beta1, beta2), step = group["betas"], int(own["step"])
        numbers = {"lr": group["lr"], "eps": group["eps"], "step": step, "beta1": beta1}
        numbers |= {"beta2": beta2, "weight_decay": group["weight_decay"]}
        numbers |= {"beta3": 0.0, "alpha": 0.0}  # of other optimizers
        if is_quantized(weight.shape):
            self._library.optimizer_update_8bit_blockwise(
                "adam",
                gradient,
                rows,
                own["exp_avg"],
                own["exp_avg_sq"],
                qmap1=own["exp_avg_map"],
                qmap2=own["exp_avg_sq_map"],
                absmax1=own["exp_avg_scale"].view(-1),
                absmax2=own["exp_avg_sq_scale"].view(-1),
                **numbers,
            )
            # Only a square of 0 in a block of zeros is one. Where a small one is rounded to 0, the
            # next update divides by its own gradient alone, and may be a hundred times too large.
            own["exp_avg_sq"].clamp_(min=1)
        else:
            self._library.optimizer_update_32bit(
                "adam", gradient, rows, own["exp_avg"], state2=own["exp_avg_sq"], **numbers
            )

    def fresh_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the state of a weight that has not moved yet: moments of 0."""
        state = {key: _zeros(weight, *wanted) for key, wanted in layout(weight).items()}
        for key, signed in (("exp_avg_map", True), ("exp_avg_sq_map", False)):
            if key in state:
                state[key].copy_(self._library.create_dynamic_map(signed=signed))
        return state


def is_quantized(shape: Sequence[int]) -> bool:
    """Return whether the moments of a weight have 8 bits; however many processes share it.

    >>> is_quantized((16, 256)), is_quantized((16, 255)), is_quantized((4096,))
    (True, False, False)
    """
    return len(shape) > 1 and prod(shape) >= SMALLEST and prod(shape[1:]) % BLOCK == 0


def moment_bytes(optimizer: str, shapes: Iterable[Sequence[int]]) -> int:
    """Return what the two moments of weights of these shapes take.

    >>> moment_bytes("adamw", [(1000, 512)]), moment_bytes("adamw_8bit", [(1000, 512)])
    (4096000, 1042048)
    """
    total = 0
    for shape in shapes:
        if optimizer == "adamw_8bit" and is_quantized(shape):
            total += 2 * (prod(shape) + prod(shape) // BLOCK * 4 + 256 * 4)
        else:
            total += 2 * prod(shape) * 4
    return total


def layout(weight: Tensor) -> Layout:
    """Return what the state of a weight is made of: moments, the number of steps.

    Codes stand in the weight's own shape; their scales are (R, D / 256), and each has the map that
    it was coded by, so that a checkpoint can be read whatever the library's map is by then.
    """
    if not is_quantized(weight.shape):
        return float_layout(weight)
    found: Layout = {"step": (torch.Size([]), torch.float32)}
    blocks = torch.Size([len(weight), prod(weight.shape[1:]) // BLOCK])
    for moment in ("exp_avg", "exp_avg_sq"):
        found[moment] = weight.shape, torch.uint8
        found[f"{moment}_scale"] = blocks, torch.float32
        found[f"{moment}_map"] = torch.Size([256]), torch.float32
    return found


def float_layout(weight: Tensor) -> Layout:
    """Return what the state of a weight is made of with float32 moments."""
    moment = weight.shape, torch.float32
    return {"step": (torch.Size([]), torch.float32), "exp_avg": moment, "exp_avg_sq": moment}


def dequantized(state: Mapping[str, Tensor], moment: str) -> Tensor:
    """Return a moment, "exp_avg" or "exp_avg_sq", in float32 from codes, scales and map.

    >>> state = {"exp_avg": torch.full((16, 256), 255, dtype=torch.uint8)}
    >>> state |= {"exp_avg_scale": torch.full((16, 1), 0.5), "exp_avg_map": torch.arange(256.0)}
    >>> dequantized(state, "exp_avg")[0, 0].item()
    127.5
    """
    codes = state[moment]
    if codes.dtype != torch.uint8:
        return codes
    values = state[f"{moment}_map"][codes.flatten().int()].view(-1, BLOCK)
    return (values * state[f"{moment}_scale"].reshape(-1, 1)).view(codes.shape)


def _zeros(weight: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return zeros of a shape; sharded as the weight is, where they have its rows."""
    if not shape:
        return torch.zeros((), dtype=dtype)  # read by the CPU at every step
    mesh = getattr(weight, "device_mesh", None)
    if mesh is None or (shape != weight.shape and len(shape) < 2):
        return torch.zeros(shape, dtype=dtype, device=weight.device)
    from torch.distributed.tensor import zeros

    sharded: Any = weight
    return zeros(shape, dtype=dtype, device_mesh=mesh, placements=sharded.placements)
