"""Writing a policy as a plain transformers directory, which any tool of the hub's layout loads."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from models.checkpoint.loading import quiet
from models.policy import Policy
from process.naming import naming

WEIGHTS = "model.safetensors"


def save_policy(policy: Policy, directory: str | Path) -> None:
    """Write config, safetensors with the hub's names, and the processor's files.

    It writes straight into `directory`, which it makes; a caller that must never leave half a
    checkpoint writes into a temporary one and renames it.

    Raises:
        OSError: the disk is full, or the directory cannot be written; it names the file.
    """
    from transformers import GenerationConfig

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    usual = policy.model.generation_config
    # The processor writes the checkpoint's own; transformers refuses one that contradicts itself.
    policy.model.generation_config = GenerationConfig()
    try:
        with quiet(), _naming_weights(directory):
            policy.model.save_pretrained(directory)
    finally:
        policy.model.generation_config = usual
    policy.processor.save(directory)
    with naming(directory / "config.json"):
        _set_dtype(directory / "config.json", policy.dtype)


@contextmanager
def _naming_weights(directory: Path) -> Iterator[None]:
    """Name the file in an error of `save_pretrained`: the config before the weights are written.

    Raises:
        OSError: also in place of safetensors' own error, whose text has the system's number.
    """
    try:
        with naming(directory / "config.json"):
            yield
    except SafetensorError as error:
        number = re.search(r"(?:os error|code:) (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        why = os.strerror(code) if number else str(error)
        raise OSError(code, why, str(directory / WEIGHTS)) from error


def _set_dtype(config_file: Path, dtype: torch.dtype) -> None:
    """Make config.json name the dtype of the written tensors: transformers writes the model's."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = str(dtype).removeprefix("torch.")
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
