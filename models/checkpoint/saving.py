"""Writing a policy as a plain transformers directory, which any tool of the hub's layout loads.

Shapes: V vocabulary, D hidden size.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint.loading import quiet
from models.policy import Policy


def save_policy(
    policy: Policy,
    directory: str | Path,
    state_dict: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write config, safetensors with the hub's names, and the processor's files.

    It writes straight into `directory`, which it makes; a caller that must never leave half a
    checkpoint writes into a temporary one and renames it.

    Args:
        state_dict: weights to write instead of the policy's own, by the names of
            `policy.model.state_dict()`, for example an fp32 master or a gathered sharded model.
        dtype: of the written tensors and in config.json; None keeps that of the weights.

    Raises:
        OSError: the disk is full, or the directory cannot be written.
    """
    from transformers import GenerationConfig

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = dict(policy.model.state_dict() if state_dict is None else state_dict)
    if policy.output_weight is policy.text.embed_tokens.weight:
        # A copy of a tied weight no longer shares memory, and transformers would write it twice.
        tensors.pop("lm_head.weight", None)
    if dtype is not None:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    usual = policy.model.generation_config
    # The processor writes the checkpoint's own; transformers refuses one that contradicts itself.
    policy.model.generation_config = GenerationConfig()
    try:
        with quiet():
            policy.model.save_pretrained(directory, state_dict=tensors)
    finally:
        policy.model.generation_config = usual
    policy.processor.save(directory)
    _set_dtype(directory / "config.json", next(iter(tensors.values())).dtype)


def _set_dtype(config_file: Path, dtype: torch.dtype) -> None:
    """Make config.json name the dtype of the written tensors: transformers writes the model's."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = str(dtype).removeprefix("torch.")
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
