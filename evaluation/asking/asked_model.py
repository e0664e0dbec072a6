"""The checkpoint that flags name: how it is asked, where it runs, the policy itself."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.asking.prompt_check import PromptCheck
from evaluation.asking.settings import AskingSettings, resolve_settings
from evaluation.asking.shared_flags import AskingFlags
from grpo.run.provenance import model_checksum
from models.files import find_checkpoint, read_config
from models.named_model import model_directory
from process.bars import warn
from process.memory import during

if TYPE_CHECKING:  # for which no mistake in flags or data should wait
    import torch

    from models.policy import Policy


@dataclass(frozen=True)
class AskedModel:
    """A checkpoint and how it is asked; its weights are not looked at before they are needed."""

    name: str  # of its row, where it is one of several
    checkpoint: str  # as it was named
    directory: Path
    settings: AskingSettings
    known_checksum: str | None = None  # of weights that may be gone

    @cached_property
    def checksum(self) -> str:
        """As `grpo.run.provenance.model_checksum` returns it, which reads all weights."""
        return self.known_checksum or model_checksum(self.directory)

    @property
    def prompt_check(self) -> PromptCheck:
        """What finds the rows that it cannot be asked."""
        settings = self.settings
        return PromptCheck(self.directory, settings.turn_builder, settings.max_completion_tokens)

    def tell_warnings(self, prefix: str = "") -> None:
        """Say on standard error which flags differ from what it was trained with."""
        for warning in self.settings.warnings:
            warn(f"{prefix}{warning}")


def asked_model(name: str, checkpoint: str, flags: AskingFlags) -> AskedModel:
    """Return a checkpoint that is there, and how it is asked.

    Args:
        name: of its row, where it is one of several.
        checkpoint: a directory, a hub id or `tiny`.
        flags: what takes the place of the checkpoint's own.

    Raises:
        ValueError: no such checkpoint, or one of another family; what `resolve_settings` raises.
    """
    directory = find_checkpoint(checkpoint)
    read_config(model_directory(directory))
    return AskedModel(name, checkpoint, directory, resolve_settings(directory, flags))


def chosen_device(device: str) -> "torch.device":
    """Return the torch device of --device, from now on the current one.

    Raises:
        ValueError: why it cannot be used.
    """
    from models.devices import choose_device, make_current

    return make_current(choose_device(device))


@during("loading the model", "take a smaller model, or --dtype bfloat16")
def chosen_policy(model: str, device: "torch.device", dtype: str) -> "Policy":
    """Return the policy, loaded in --dtype."""
    from models import load_policy

    return load_policy(model, device=device, dtype=chosen_dtype(dtype))


def chosen_dtype(dtype: str) -> str | None:
    """Return --dtype, None where the device decides."""
    return None if dtype == "auto" else dtype
