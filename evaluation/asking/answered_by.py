"""Who answered: which weights, how they were trained, on what machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo.run.provenance import machine
from grpo.settings.card import read_card

if TYPE_CHECKING:  # imports torch, for which no mistake in flags or data should wait
    from models.policy import Policy


def answered_by(directory: Path, checksum: str, policy: "Policy") -> dict[str, Any]:
    """Return the part of summary.json's `evaluation` that is about the checkpoint and the machine.

    Args:
        directory: as `models.files.find_checkpoint` returns it.
        checksum: of it, as `grpo.run.provenance.model_checksum` returns it.
        policy: loaded from there.
    """
    card = read_card(directory)
    return {
        "model_checksum": checksum,
        "method": card.get("method"),
        "step": card.get("step"),
        "device": str(policy.device),
        "dtype": str(policy.dtype).removeprefix("torch."),
        **machine(),
    }
