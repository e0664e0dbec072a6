"""The log-prob op's kernels (logprobs.cu), how they are compiled, and how they are launched."""
