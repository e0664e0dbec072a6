"""What the log-prob op refuses, and in which words."""

import math

import pytest
import torch

from grpo.logprobs import token_logprobs

# --- errors -------------------------------------------------------------------------------------

OK = {"hidden": torch.zeros(3, 4), "weight": torch.zeros(5, 4), "targets": torch.zeros(3).long()}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden": torch.zeros(3, 6)}, ValueError, r"weight's D: got hidden \(3, 6\)"),
        ({"hidden": torch.tensor(1.0)}, ValueError, r"got hidden \(\)"),
        ({"weight": torch.zeros(5)}, ValueError, r"weight must have shape \(V, D\)"),
        ({"weight": torch.zeros(0, 4)}, ValueError, "V at least 1"),
        ({"targets": torch.zeros(4).long()}, ValueError, r"leading shape.*targets \(4,\)"),
        ({"targets": torch.zeros(3, device="meta").long()}, ValueError, "on one device.*meta"),
        ({"temperature": 0.0}, ValueError, r"finite and above 0 \(1e-20 to 1e20\), got 0.0"),
        ({"temperature": -1.0}, ValueError, "got -1.0"),
        ({"temperature": math.inf}, ValueError, "got inf"),
        ({"temperature": math.nan}, ValueError, "got nan"),
        ({"tile_bytes": 11}, ValueError, "tile_bytes=11 holds no column of 3 tokens.*least 12"),
        ({"tile_bytes": 0}, ValueError, "tile_bytes=0"),
        ({"banned_ids": [1, 5]}, ValueError, r"banned_ids \[5\] are outside the vocabulary of 5"),
        ({"banned_ids": [-1]}, ValueError, r"banned_ids \[-1\] are outside"),
        ({"banned_ids": range(5)}, ValueError, "holds all 5 ids"),
        ({"backend": "triton"}, ValueError, "unknown backend 'triton': use one of"),
        ({"backend": "cuda"}, RuntimeError, "cannot run on cpu: use 'auto' or 'torch'"),
        ({"hidden": torch.zeros(3, 4).half()}, TypeError, "hidden must be .* got torch.float16"),
        (
            {"weight": torch.zeros(5, 4).double()},
            TypeError,
            "weight must have .* got torch.float64",
        ),
        ({"weight": torch.zeros(5, 4).bfloat16()}, TypeError, "hidden's dtype torch.float32"),
        ({"targets": torch.zeros(3).int()}, TypeError, "int64 token ids, got torch.int32"),
        (
            {"tile_dtype": torch.bfloat16},
            TypeError,
            "tile_dtype of torch.float32 hidden must be one of",
        ),
        ({"targets": torch.tensor([0, 5, 5])}, IndexError, r"target 5 of token 1 .* \(2 such"),
        ({"targets": torch.tensor([0, 0, -1])}, IndexError, "target -1 of token 2 .* outside"),
        ({"targets": torch.tensor([0, 2, 0]), "banned_ids": [2]}, IndexError, "target 2 .* banned"),
    ],
)
def test_the_error_says_what_was_wrong(change, error, message):
    arguments = {**OK, **change}
    with pytest.raises(error, match=message):
        token_logprobs(arguments.pop("hidden"), arguments.pop("weight"), **arguments)
