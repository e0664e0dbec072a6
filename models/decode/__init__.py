"""Token by token, without gradient: one decoder layer, run eagerly or replayed as CUDA graphs."""
