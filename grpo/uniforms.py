"""The random numbers of sampling: a fixed integer hash of where a token stands in the run.

No generator carries state, so neither batch layout, bucket, micro-batch, rank nor a resume can
change what is sampled.

Shapes: B rows (completions), C completion tokens.
"""

import numpy as np

# The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
# OOPSLA 2014) and its golden-ratio increment.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def token_uniforms(
    seed: int, step: int, positions: np.ndarray, indices: np.ndarray, num_tokens: int
) -> np.ndarray:
    """Return one number in [0, 1) for each token of each row: (B, C) float32.

    Args:
        seed: the run's.
        step: of training. A row drawn twice in a run also has two positions.
        positions: (B,) where each row's example stands in the run's data order.
        indices: (B,) each row's number within its group.
        num_tokens: C.

    The numbers are multiples of 2^-24, all of which float32 holds exactly: none rounds up to 1.

    >>> token_uniforms(0, 0, np.array([0, 0]), np.array([0, 1]), 2).round(3)
    array([[0.602, 0.822],
           [0.908, 0.813]], dtype=float32)
    """
    key = np.zeros(1, dtype=np.uint64)  # (B,) from the first part on
    # One after another, not added: seed 1 of step 0 is not seed 0 of step 1.
    for part in np.broadcast_arrays(seed, step, positions, indices):
        key = _mix(key, part.astype(np.uint64))
    tokens = np.arange(num_tokens, dtype=np.uint64)  # (C,)
    # The upper 24 bits: as many as float32 holds.
    return (_mix(key[:, None], tokens) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _mix(key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return a hash of both, elementwise; uint64 arrays wrap, which is what is wanted."""
    mixed = (key ^ value) * _FACTORS[1] + (value + np.uint64(1)) * _INCREMENT
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FACTORS[0]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _FACTORS[1]
    return mixed ^ (mixed >> np.uint64(31))
