"""The ways to token log-probabilities that benchmarks/logprob.py times: ours, plain, and others'.

A way is a function from hidden (N, D), weight (V, D) and targets (N,) to a tuple of outputs (N,),
the log-probs first. Temperature 1, no bans, nothing ignored: what all of them can do.

The other libraries were read at trl 1.16.0, liger-kernel 0.8.5, cut-cross-entropy 25.1.1 and verl
0.9.1; none is a dependency of ours, and on another version an import or a call may fail.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from grpo.logprobs import token_logprobs

PRODUCTS = "matrix products alone"
TILES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Way = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Inputs:
    """What every way gets: leaves hidden (N, D) and weight (V, D), targets, upstream (2, N)."""

    hidden: Tensor
    weight: Tensor
    targets: Tensor
    upstream: Tensor

    @property
    def sizes(self) -> dict[str, int]:
        """Return N, D and V by their letters."""
        return {"N": len(self.hidden), "D": self.hidden.shape[1], "V": len(self.weight)}

    def head(self, tokens: int) -> "Inputs":
        """Return the first tokens as inputs of their own."""
        hidden = self.hidden.detach()[:tokens].clone().requires_grad_()
        return Inputs(hidden, self.weight, self.targets[:tokens], self.upstream[:, :tokens])


def make_inputs(N: int, D: int, V: int, *, dtype: torch.dtype, device: str) -> Inputs:
    """Return random inputs whose logits spread like a model's: std 6, so |z| stays under 40."""
    generator = torch.Generator(device).manual_seed(0)
    normal = {"generator": generator, "device": device}
    hidden = torch.randn(N, D, **normal).to(dtype).requires_grad_()
    weight = torch.randn(V, D, **normal).mul_(6 / D**0.5).to(dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), **normal)
    return Inputs(hidden, weight, targets, torch.randn(2, N, **normal))


@dataclass(frozen=True)
class Variant:
    """Something to time, by the two passes: forward alone as for a reference, and with backward."""

    name: str
    forward: Callable[[], Any]
    both: Callable[[], Any]


def variant(name: str, way: Way, inputs: Inputs) -> Variant:
    """Return a way as something to time."""

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return way(inputs.hidden, inputs.weight, inputs.targets)

    return Variant(name, forward, lambda: outputs_and_gradients(way, inputs))


def outputs_and_gradients(way: Way, inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the log-probs (N,) and the gradients of hidden and weight; all outputs pull."""
    outputs = way(inputs.hidden, inputs.weight, inputs.targets)
    upstream = [grad.to(out.dtype) for out, grad in zip(outputs, inputs.upstream, strict=False)]
    return (
        outputs[0].detach(),
        *torch.autograd.grad(outputs, (inputs.hidden, inputs.weight), upstream),
    )


# ---- ours, plain, and the matrix products alone -------------------------------------------------


def ours(backend: str, **options: Any) -> Way:
    """Return `token_logprobs` with these options."""

    def way(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        outputs = token_logprobs(hidden, weight, targets, backend=backend, **options)
        return tuple(output for output in outputs if output is not None)

    return way


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor]:
    """All logits at once, widened to float32: what a model's loss does without a fused op."""
    logits = hidden @ weight.T  # (N, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0],)


def matrix_products(inputs: Inputs) -> Variant:
    """Return the unchunked products alone: logits; with backward logits again, dH and dW.

    The outputs have the inputs' dtype and are allocated here, once.
    """
    hidden, weight = inputs.hidden.detach(), inputs.weight.detach()
    logits = hidden.new_empty(len(hidden), len(weight))
    grad_hidden, grad_weight = torch.empty_like(hidden), torch.empty_like(weight)

    def forward() -> None:
        torch.mm(hidden, weight.T, out=logits)

    def both() -> None:
        forward()
        forward()
        torch.mm(logits, weight, out=grad_hidden)
        torch.mm(logits.T, hidden, out=grad_weight)

    return Variant(PRODUCTS, forward, both)


def errors(way: Way, inputs: Inputs, exact: Inputs) -> dict[str, float]:
    """Return how far a way is from the plain path: max of log-probs, relative L2 of dH and dW."""
    pairs = zip(
        *(outputs_and_gradients(way, inputs), outputs_and_gradients(plain, exact)), strict=True
    )
    gaps = [((ours.double() - truth), truth.double().norm()) for ours, truth in pairs]
    relative = [(gap.norm() / size).item() for gap, size in gaps]
    return {"logprobs": gaps[0][0].abs().max().item(), "dH": relative[1], "dW": relative[2]}


def refuse_if_wrong(found: dict[str, float], logprobs: float, gradients: float) -> None:
    """Exit if errors exceed their bars or are NaN: the time of wrong numbers means nothing."""
    right = found["logprobs"] <= logprobs and found["dH"] <= gradients and found["dW"] <= gradients
    if not right:
        sys.exit(f"no ratios: ours is wrong, {found}; bars {logprobs:.2g} and {gradients:.2g}")


def gradient_bytes(inputs: Inputs, passed: str) -> int:
    """Return the size of what a pass has to return: dH and dW, or nothing."""
    return inputs.hidden.nbytes + inputs.weight.nbytes if passed == "both" else 0


# ---- what is timed on a GPU ------------------------------------------------------------------


def all_variants(kernels: str, inputs: Inputs, others: dict[str, Way]) -> list[Variant]:
    """Return the matrix products alone, ours with ``kernels``, plain, ours in torch, and others."""
    chosen = {}
    for tile, dtype in TILES.items():
        chosen[f"ours, {tile} tile"] = ours(kernels, tile_dtype=dtype)
        chosen[f"ours, {tile} tile, entropy"] = ours(kernels, tile_dtype=dtype, with_entropy=True)
    chosen["plain"] = plain
    for tile, dtype in TILES.items():
        chosen[f"ours in torch, {tile} tile"] = ours("torch", tile_dtype=dtype)
    chosen |= others
    timed = [variant(name, way, inputs) for name, way in chosen.items()]
    return [matrix_products(inputs), *timed]


def sweep(kernels: str, inputs: Inputs) -> list[Variant]:
    """Return ours by the size of its tile."""
    return [
        variant(f"ours, {size} MiB", ours(kernels, tile_bytes=size * 2**20), inputs)
        for size in (16, 32, 64, 128, 256, 512)
    ]


def check(kernels: str, inputs: Inputs, others: dict[str, Way]) -> dict[str, Any]:
    """Return errors on the first tokens against float64; refuse to go on if ours is wrong.

    The bars are the design's. The vocabulary is cut in six, so that tiles are merged.
    """
    few = inputs.head(256)
    hidden, weight = (x.detach().double().requires_grad_() for x in (few.hidden, few.weight))
    exact = Inputs(hidden, weight, few.targets, few.upstream)
    largest = (hidden.detach() @ weight.detach().T).abs().max().item()
    found = {}
    for tile, bars in {"fp32": (5e-5, 5e-3), "bf16": (largest / 2**7, 3e-2)}.items():
        dtype = TILES[tile]
        tile_bytes = len(few.targets) * dtype.itemsize * (len(weight) // 5)
        way = ours(kernels, tile_dtype=dtype, tile_bytes=tile_bytes)
        found[f"ours, {tile} tile"] = errors(way, few, exact)
        refuse_if_wrong(found[f"ours, {tile} tile"], *bars)
    for name, way in others.items():
        try:
            found[name] = errors(way, few, exact)
        except Exception as error:  # it will be left out for the same reason later
            found[name] = f"{type(error).__name__}: {error}"
    return found


# ---- other libraries --------------------------------------------------------------------------


def _trl() -> Way:
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    columns = 32_768  # what its trainers pass
    return lambda hidden, weight, targets: ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, 1.0, columns, None, 1.0, ()
    )[:1]


def _liger() -> Way:
    from liger_kernel.chunked_loss import fused_linear_ppo as liger

    return lambda hidden, weight, targets: (
        liger._ChunkedSelectiveLogProbFunction.apply(
            hidden, weight, targets, None, 1.0, liger._SELECTIVE_LOGPROB_VOCAB_CHUNK_SIZE
        ),
    )


def _cce() -> Way:
    from cut_cross_entropy import linear_cross_entropy

    # without a threshold no gradient is left out: exact
    return lambda hidden, weight, targets: (
        -linear_cross_entropy(hidden, weight, targets, reduction="none", filter_eps=None),
    )


def _verl() -> Way:
    from verl.utils.kernel.linear_cross_entropy import linear_cross_entropy

    return lambda hidden, weight, targets: linear_cross_entropy(
        hidden, weight, targets, 1.0, "none"
    )[:1]


_OTHERS = {
    "TRL": ("trl", _trl),
    "Liger": ("liger-kernel", _liger),
    "CCE, exact": ("cut-cross-entropy", _cce),
    "verl": ("verl", _verl),
}


def other_libraries() -> tuple[dict[str, Way], dict[str, str]]:
    """Return the ways of what is importable, and by name a version or why there is none."""
    ways, found = {}, {}
    for name, (package, load) in _OTHERS.items():
        try:
            found[name] = version(package)
            ways[name] = load()
        except PackageNotFoundError:
            found[name] = "not installed"
        except Exception as error:  # a broken neighbour must not cost the run
            found[name] = f"{found[name]}, not importable: {type(error).__name__}: {error}"
    return ways, found
