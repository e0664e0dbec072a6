"""Logits that are not finite: where they came about while completions were written, and from what.

What is written from NaN or inf is no text of the model's. An evaluation refuses it; a training run
counts the step as a bad one (grpo/watch/bad_steps.py), since an odd image may cause it, too.

Shapes: B rows (completions), C completion tokens.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from grpo.sampling import Completions
from models.policy import Policy

_SHOWN_WEIGHTS = 3


def check_finite_logits(policy: Policy, completions: Completions, names: Sequence[str]) -> None:
    """Raise unless every token was chosen from finite logits.

    Args:
        policy: that wrote them.
        completions: B rows.
        names: B, what each row answers, such as an example's id.

    Raises:
        ValueError: naming the first row and token, and the policy's largest weights.
    """
    if (where := where_not_finite(completions, names)) is not None:
        raise ValueError(f"{where}, so what it writes means nothing. {advice(policy)}")


def check_masses(policy: Policy, masses: Sequence[float | None], names: Sequence[str]) -> None:
    """Raise unless the probabilities that some letter is written are numbers; None is not asked.

    Raises:
        ValueError: naming the first that is none, and the policy's largest weights.
    """
    for mass, name in zip(masses, names, strict=True):
        if mass is not None and not math.isfinite(mass):
            raise ValueError(
                "the model's logits are not finite (NaN or inf) where the answer to"
                f" {name!r} has its letter. {advice(policy)}"
            )


def where_not_finite(completions: Completions, names: Sequence[str]) -> str | None:
    """Return in which rows and from which token on the logits were NaN or inf, None if in none.

    Args:
        completions: B rows.
        names: B, what each row answers.
    """
    broken = completions.not_finite  # (B, C)
    rows = broken.any(dim=1).nonzero()[:, 0].tolist()
    if not rows:
        return None
    token = int(broken[rows[0]].nonzero()[0, 0]) + 1
    return (
        f"the model's logits are not finite (NaN or inf) in {len(rows)} of {len(broken)}"
        f" completions, first at token {token} of the answer to {names[rows[0]]!r}"
    )


def advice(policy: Policy) -> str:
    """Return which weights are the largest, and what to do."""
    sizes = {name: _size(weight) for name, weight in policy.model.named_parameters()}
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:_SHOWN_WEIGHTS]
    shown = ", ".join(f"{name} ({sizes[name]:.3g})" for name in largest)
    half = ", or use --dtype float32" if policy.dtype.itemsize < 4 else ""
    return (
        f"The largest weights of {policy.path}: {shown}. Take a checkpoint from before they broke,"
        f" train with a lower --learning-rate, or fetch the model again{half}"
    )


def _size(weight: Tensor) -> float:
    """Return a tensor's largest magnitude, NaN counting as inf."""
    size = float(weight.detach().abs().max()) if weight.numel() else 0.0
    return math.inf if math.isnan(size) else size
