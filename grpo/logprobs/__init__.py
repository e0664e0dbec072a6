"""Log-probabilities of tokens straight from hidden states: no (N, V) tensor of logits, ever.

With V = 151,936 the logits of 8,192 tokens take 5 GB, and the plain path (logits, log_softmax,
gather) three times that. Here the vocabulary passes by in tiles, forward and backward; what stays
for the backward is references and a few floats per token. docs/logprob.md explains it from the
maths to the kernels; in the code, from the outside in:

    api.py         the two functions to call, and what they refuse
    ops.py         the torch.library operators behind them: fake tensors, autograd
    backends.py    which backend runs, and why
    kept.py        where top-k and top-p left few ids: their rows of the embedding alone
    tiles.py       the loop over tiles: matrix products, forward and backward
    tile_plan.py   how the work is cut
    rows_torch.py  what happens to one tile, in PyTorch (CPU, fallback, oracle) ..
    cuda/          .. and in CUDA C++: the kernels, their compiler and their launcher
"""

from grpo.logprobs.api import logits_logprobs, token_logprobs
from grpo.logprobs.kept import kept_logprobs

__all__ = ["kept_logprobs", "logits_logprobs", "token_logprobs"]
