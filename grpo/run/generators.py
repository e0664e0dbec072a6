"""The random generators that a user's reward may draw from: Python's, numpy's and torch's.

Nothing of ours draws from them (grpo/uniforms.py), yet a reward that does is reproducible: a run
begins with all of them seeded, and its checkpoints hold their states as tensors.

    python         `random`: 625 words
    python/gauss   the normal number that `random.gauss` has put aside, if it has
    numpy          `numpy.random`: 624 words, the position in them, whether a number is put aside
    numpy/gauss    that number
    cpu            torch's on the CPU
    cuda           torch's on the run's GPU, where there is one
"""

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from process.ranks import world

if TYPE_CHECKING:  # what is wrong in settings and data does not wait for it
    import torch

_MERSENNE = "MT19937"  # of numpy; a user may have put in another one, which is then their own


@contextmanager
def seeded(seed: int, *, torch_too: bool = False) -> Iterator[None]:
    """Seed all generators for the block; afterwards they are where they were before.

    Args:
        seed: of all of them; each of several processes draws its own numbers.
        torch_too: torch's as well where nothing has imported it yet.
    """
    if torch_too:
        import torch  # noqa: F401 what is wrong in settings and data does not wait for it
    before = _states()
    seed += world().rank
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    if (loaded := sys.modules.get("torch")) is not None:
        loaded.manual_seed(seed)
    try:
        yield
    finally:
        _put_back(before)


def generator_tensors(device: "torch.device") -> "dict[str, torch.Tensor]":
    """Return the states of all generators, by the names above."""
    import torch

    _, words, gauss = random.getstate()
    tensors = {"python": torch.tensor(words), "cpu": torch.get_rng_state()}
    if gauss is not None:
        tensors["python/gauss"] = torch.tensor([gauss], dtype=torch.float64)
    own: Any = np.random.get_state()  # a tuple; a dict only where that is asked for
    name, keys, *place, aside = own
    if name == _MERSENNE:
        tensors["numpy"] = torch.tensor([*keys.tolist(), *place])
        tensors["numpy/gauss"] = torch.tensor([aside], dtype=torch.float64)
    if device.type == "cuda":  # pragma: no cover - needs a GPU
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    return tensors


def restore_generators(
    tensors: "Mapping[str, torch.Tensor]", device: "torch.device"
) -> tuple[str, ...]:
    """Put the generators where they were; return the names of those that no state is known of.

    A checkpoint of an earlier version knows torch's alone, one of a CPU no GPU's: these stay as
    they are, freshly seeded.

    Raises:
        ValueError, KeyError, RuntimeError: a state is none.
    """
    import torch

    torch.set_rng_state(tensors["cpu"])
    if "python" in tensors:
        gauss = tensors["python/gauss"].item() if "python/gauss" in tensors else None
        random.setstate((random.Random.VERSION, tuple(tensors["python"].tolist()), gauss))
    if "numpy" in tensors:
        *keys, position, has_gauss = tensors["numpy"].tolist()
        aside = tensors["numpy/gauss"].item()
        np.random.set_state((_MERSENNE, np.array(keys, np.uint32), position, has_gauss, aside))
    if device.type == "cuda" and "cuda" in tensors:  # pragma: no cover - needs a GPU
        torch.cuda.set_rng_state(tensors["cuda"], device)
    wanted = ("python", "numpy", *(("cuda",) if device.type == "cuda" else ()))
    return tuple(name for name in wanted if name not in tensors)


def _states() -> dict[str, Any]:
    """Return the states as their libraries have them, of what is imported and in use."""
    found: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["cpu"] = torch.get_rng_state()
        if torch.cuda.is_initialized():  # pragma: no cover - else asking would start it
            found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def _put_back(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch = sys.modules.get("torch")
    if torch is not None and "cpu" in states:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:  # pragma: no cover - needs a GPU
            torch.cuda.set_rng_state_all(states["cuda"])
