"""What the tests of the log-prob op share: inputs, the textbook way, and a spy on allocations.

N tokens, D hidden size, V vocabulary, as in grpo/logprobs.
"""

from dataclasses import dataclass

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grpo.logprobs import ops, token_logprobs

FP32, BF16, FP64 = torch.float32, torch.bfloat16, torch.float64

# hidden, weight, tile -> bars of logp, entropy, relative L2 of the gradients; a bf16 tile's logp
# errs in proportion to the logits
PATHS = {
    "fp64": (FP64, FP64, None, 1e-10, 1e-10, 1e-10),
    "fp32": (FP32, FP32, None, 5e-5, 5e-5, 2e-5),
    "bf16": (BF16, BF16, None, 5e-5, 1e-4, 5e-3),
    "bf16 with an fp32 master": (BF16, FP32, None, 5e-5, 1e-4, 5e-3),
    "bf16 tile": (BF16, BF16, BF16, 40 * 2**-7, 1e-1, 3e-2),
}


BACKENDS = (
    "torch",
    pytest.param("emulate", marks=pytest.mark.command),  # g++ compiles it
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
)
# Every backend on every path that it knows; the kernels know no float64.
each_path = pytest.mark.parametrize(
    ("op", "path"),
    [
        pytest.param(
            *getattr(backend, "values", [backend]), path, marks=getattr(backend, "marks", ())
        )
        for backend in BACKENDS
        for path in PATHS
        if path != "fp64" or backend == "torch"
    ],
    indirect=["op"],
)


@dataclass(frozen=True)
class Op:
    """`token_logprobs` on one backend, for tensors on the CPU and with results there."""

    backend: str

    @property
    def exact(self) -> torch.dtype:
        """The widest hidden states it takes."""
        return FP64 if self.backend == "torch" else FP32

    @property
    def tolerance(self) -> float:
        """Of log-probs, entropies and gradients of such hidden states, from the design's table."""
        return 1e-10 if self.backend == "torch" else 5e-5

    def __call__(self, hidden, weight, targets, **options):
        device = "cuda" if self.backend == "cuda" else "cpu"
        inputs = (tensor.to(device) for tensor in (hidden, weight, targets))
        outputs = token_logprobs(*inputs, backend=self.backend, **options)
        return tuple(None if output is None else output.cpu() for output in outputs)


def make_inputs(N=13, D=24, V=33, *, temperature=1.0, seed=0, hidden_dtype=FP32, weight_dtype=None):
    """Return leaves hidden and weight whose scaled logits reach 40, targets, and two weightings."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator)
    weight = torch.randn(V, D, generator=generator)
    largest = (hidden @ weight.T).abs().max() if N else 1.0
    hidden = (hidden * 39.5 * temperature / largest).to(hidden_dtype).requires_grad_()
    weight = weight.to(weight_dtype or hidden_dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=generator)
    weightings = torch.randn(2, N, generator=generator, dtype=FP64)
    return hidden, weight, targets, weightings


def plain(hidden, weight, targets, temperature=1.0, banned_ids=()):
    """The textbook way in float64, on the numbers the op sees: every logit at once."""
    rounded = weight.to(hidden.dtype)  # an fp32 master is rounded like the weights of the forward
    logits = hidden.double() @ rounded.double().T / temperature
    if len(banned_ids):
        logits = logits.index_fill(1, torch.tensor(banned_ids), -torch.inf)
    log_p = torch.log_softmax(logits, dim=-1)
    entropy = torch.special.entr(log_p.exp()).sum(dim=-1)
    return log_p.gather(1, targets[:, None])[:, 0], entropy


def gradients(outputs, inputs, weightings):
    loss = sum(
        (output.double() * weighting).sum()
        for output, weighting in zip(outputs, weightings, strict=True)
    )
    return torch.autograd.grad(loss, inputs)


def relative_error(actual, expected):
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


OPERATORS = {
    definition._opoverload: definition._init_fn
    for definition in (ops.token_logprobs_op, ops.token_logprobs_backward_op)
}


class TensorSpy(TorchDispatchMode):
    """Sees every tensor that an operation returns.

    A dispatch mode meets an operator of ours as one call: its Python function is called instead, so
    that what happens inside is seen too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def see(self, tensor: torch.Tensor) -> None:
        raise NotImplementedError

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in OPERATORS:
            with self:
                return OPERATORS[func](*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.seen += 1
                self.see(tensor)
        return result


class LargestTensor(TensorSpy):
    """Remembers the most elements of any tensor."""

    elements = 0

    def see(self, tensor: torch.Tensor) -> None:
        self.elements = max(self.elements, tensor.numel())
