"""How fast this machine is at what a step is made of, measured by itself: no step is run here.

Matrix products at the very shapes of a model, copies of memory, and operations that have nothing to
compute. Shapes: R rows of a product, D in, F out.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRMSNorm

from scripts.scale.sizes import Sizes

Matrix = tuple[int, int]  # D, F
NUMBERS_AT_LEAST = 4_000_000  # of the weights that are gone through: more than caches hold


class Rates:
    """Measures what is asked for, each thing once."""

    def __init__(self, seconds: float) -> None:
        """Take at least so many seconds for each measurement."""
        self._seconds = seconds
        self._products: dict[tuple, float] = {}
        self.copy = self._copy()
        self.overhead = self._overhead()

    def product(self, matrices: Sequence[Matrix], rows: int, *, backward: bool = False) -> float:
        """Return the operations per second of so many rows through these matrices, in turn.

        Args:
            matrices: of one layer.
            rows: R.
            backward: the two products of a backward instead: of the rows and of the weights.
        """
        key = (tuple(matrices), rows, backward)
        if key not in self._products:
            self._products[key] = self._measured(matrices, rows, backward)
        return self._products[key]

    def _measured(self, matrices: Sequence[Matrix], rows: int, backward: bool) -> float:
        numbers = sum(ins * outs for ins, outs in matrices)
        layers = [
            [torch.randn(outs, ins) for ins, outs in matrices]
            for _ in range(-(-NUMBERS_AT_LEAST // numbers))
        ]
        inputs = {ins: torch.randn(rows, ins) for ins, _ in matrices}
        grads = {outs: torch.randn(rows, outs) for _, outs in matrices}

        def run() -> None:
            for weight in (weight for layer in layers for weight in layer):
                outs, ins = weight.shape
                if backward:
                    _two_products(inputs[ins], grads[outs], weight)
                else:
                    torch.nn.functional.linear(inputs[ins], weight)

        flops = 2 * rows * numbers * len(layers) * (1 + backward)
        return flops / self._median(run)

    def _copy(self) -> float:
        """Return the bytes per second that are read or written by a copy of 256 MiB."""
        source = torch.randn(1 << 26)
        target = torch.empty_like(source)
        return 2 * source.nbytes / self._median(lambda: target.copy_(source))

    def _overhead(self) -> float:
        """Return the seconds of an operation on next to nothing, called as layers call theirs."""
        norm, token = Qwen2VLRMSNorm(8), torch.randn(1, 8)
        operations = 6  # square, mean, sum, root, and two products

        def run() -> None:
            for _ in range(100):
                norm(token)

        with torch.no_grad():
            return self._median(run) / 100 / operations

    def _median(self, run: Callable[[], object]) -> float:
        run()
        found: list[float] = []
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end or len(found) < 3:
            started = time.perf_counter()
            run()
            found.append(time.perf_counter() - started)
        return statistics.median(found)


def _two_products(rows: Tensor, grad: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad @ weight, grad.t() @ rows


def text_matrices(sizes: Sizes) -> list[Matrix]:
    """Return those of a decoder layer."""
    D, F, keys = sizes.text.width, sizes.text.mlp, sizes.text.kv_width
    return [(D, D), (D, keys), (D, keys), (D, D), (D, F), (D, F), (F, D)]


def vision_matrices(sizes: Sizes) -> list[Matrix]:
    """Return those of a block of the tower."""
    E, F = sizes.vision.width, sizes.vision.mlp
    return [(E, 3 * E), (E, E), (E, F), *([(E, F)] * sizes.vision.gated), (F, E)]


def head_matrix(sizes: Sizes) -> list[Matrix]:
    """Return the output head."""
    return [(sizes.text.width, sizes.text.vocabulary)]
