"""Token by token: caches, prompts kept once per group, the step, its CUDA graphs."""
