"""Matrix products of half precision: what they are rounded to, and when.

A score of 2,000 lies between two bfloat16 numbers that are 8 apart (float16: 2), so attention that
stores its products as such is another model. Qwen2's query and key biases make such scores.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

HALF_DTYPES = (torch.float16, torch.bfloat16)


def float_product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Return left @ right, at least in float32, of two matrices or two batches of matrices.

    On a GPU one kernel, which sums in float32 anyway and then stores just that; a CPU has no such
    product of half precision: there its operands are widened first. With `out`, written there.

    >>> half = torch.tensor([[2048.0, 1.0]], dtype=torch.bfloat16)
    >>> half @ half.new_ones(2, 1), float_product(half, half.new_ones(2, 1))
    (tensor([[2048.]], dtype=torch.bfloat16), tensor([[2049.]]))
    """
    # These take an output dtype; `@` does not.
    product = torch.mm if left.dim() == 2 else torch.bmm
    if left.dtype not in HALF_DTYPES:
        return product(left, right, out=out)
    if left.device.type == "cpu":
        return product(left.float(), right.float(), out=out)
    return product(left, right, out_dtype=torch.float32, out=out)


def add_product(hidden: Tensor, factor: Tensor, weight: Tensor) -> None:
    """Add factor @ weight^T to the residual stream in place, (R, D), (R, K) and (D, K).

    Half precision is rounded before and after the sum, as by the layers that the update calls;
    wider numbers are added by the product itself.
    """
    # addmm_ would add in float32 and round once, which the update's layers do not.
    if hidden.dtype in HALF_DTYPES:
        hidden.add_(linear(factor, weight))
    else:
        hidden.addmm_(factor, weight.t())


def sum_in_float32() -> None:
    """Let no product of this process add up in less than float32, nor round float32 operands.

    By default torch lets a GPU add the parts of a product of half precision in half precision;
    containers of NVIDIA's let it cut the operands of a float32 one to TF32's 10 bits
    (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE). Both change a result with the shape of the batch, and so
    make two models of sampler and update. `load_policy` calls it, a run before anything else.
    """
    matmul = torch.backends.cuda.matmul
    matmul.allow_bf16_reduced_precision_reduction = False
    matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)  # attention where nothing fuses
    torch.set_float32_matmul_precision("highest")
