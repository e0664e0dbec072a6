"""An adapter on disk, as peft writes it, and the model that it makes of its base.

    adapter_config.json          rank, scale, layers; which base it is of
    adapter_model.safetensors    A and B of every layer, float32

Read are plain LoRA adapters of linear layers, whoever has trained them; nothing of peft that runs
code, and no pickle. Whatever else a config asks for would change the model, and is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from models.architecture import QwenVL
from models.checkpoint.checksums import file_checksum
from models.checkpoint.tensor_file import FORMAT, write_tensor_file
from models.files import EMBEDDED, read_checkpoint_json, weight_files
from models.lora.adapters import (
    KINDS,
    adapter_layers,
    adapter_tensors,
    inject,
    matrix,
    merged_weight,
    set_adapter_tensors,
)
from models.lora.library import peft
from models.lora.policy import LoraPolicy
from models.named_model import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD, adapter_config
from process.naming import naming
from process.regular import read_bytes

BASE_WEIGHTS = "base_weights"  # in groupwise.json: `weights_checksum` of the base
# What says where adapters are and how large they count.
_READ = (
    *("r", "lora_alpha", "target_modules", "exclude_modules", "use_rslora", "fan_in_fan_out"),
    *("rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern"),
)
# What says how they were trained, or nothing of the model that they make.
_OF_TRAINING = (
    *("peft_type", "base_model_name_or_path", "revision", "task_type", "inference_mode"),
    *("lora_dropout", "init_lora_weights", "auto_mapping", "peft_version", "megatron_core"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config"),
    *("qalora_group_size", "ensure_weight_tying", "megatron_config"),
)
_MOST_RANK = 65_536


def save_adapters(policy: LoraPolicy, directory: Path) -> None:
    """Write a policy's adapters into a directory, which it makes.

    Raises:
        OSError: the disk is full, or the directory cannot be written; it names the file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # peft loads the base by this name, and knows no embedded model.
    base = str(EMBEDDED.get(str(policy.path), policy.path))
    config = policy.lora_config.to_dict()
    config |= {"base_model_name_or_path": base, "inference_mode": True}
    with naming(directory / ADAPTER_CONFIG):
        text = json.dumps(config, indent=2, sort_keys=True, default=sorted)  # sets of names
        (directory / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")
    tensors = adapter_tensors(policy.model)
    write_tensor_file(directory / ADAPTER_WEIGHTS, tensors, FORMAT)


def load_adapters(policy: LoraPolicy, directory: Path) -> None:
    """Give a policy the adapters that were saved of it.

    Raises:
        ValueError: they are missing, damaged or of another model; it names the file.
    """
    _set(policy.model, directory)
    policy.weights_moved()


def merge_adapter(model: QwenVL, directory: Path, base: Path) -> None:
    """Make a base the whole model that an adapter makes of it.

    Args:
        model: the base's, as loaded; merged in float32 and rounded once to its dtype.
        directory: the adapter's.
        base: the base's directory.

    Raises:
        ValueError: peft is not installed; the adapter is damaged, is no plain LoRA, or belongs to
            another base.
    """
    check_base(directory, base)
    learning = [weight.requires_grad for weight in model.parameters()]
    weights = list(model.parameters())
    config = _readable_config(directory)
    try:
        inject(model, peft().LoraConfig(**config))
    except ValueError as error:
        raise ValueError(f"{directory} does not fit its base {base}: {error}") from error
    layers = adapter_layers(model)
    _set(model, directory)
    with torch.no_grad():
        for name, layer in layers.items():
            weight = layer.base_layer.weight
            weight.data = merged_weight(layer).to(weight.dtype)  # the old one may be a file's page
            model.set_submodule(name, layer.base_layer)
    del model.__dict__["peft_config"]
    for weight, learns in zip(weights, learning, strict=True):
        weight.requires_grad_(learns)


def check_base(directory: Path, base: Path) -> None:
    """Raise where a base is not the one whose weights an adapter of ours was trained beside.

    Raises:
        ValueError: with both checksums.
    """
    if not (directory / CARD).is_file():
        return
    noted = read_checkpoint_json(directory, CARD, "").get(BASE_WEIGHTS)
    if noted is not None and noted != (found := weights_checksum(base)):
        raise ValueError(
            f"{base} is not the model that the adapter {directory} was trained on (SHA-256 of its"
            f" weights {str(noted)[:12]} then, {found[:12]} now): put that one there, or name its"
            f" place in {ADAPTER_CONFIG}"
        )


def weights_checksum(directory: Path) -> str:
    """Return one SHA-256 over a model's weight files, whatever they and their folder are called."""
    sums = sorted(file_checksum(directory / name) for name in weight_files(directory))
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _set(model: QwenVL, directory: Path) -> None:
    file = directory / ADAPTER_WEIGHTS
    try:
        set_adapter_tensors(model, _read_tensors(file))
    except ValueError as error:
        raise ValueError(f"{file} is no adapter of this model: {error}") from error
    for name, layer in adapter_layers(model).items():
        if not all(bool(matrix(layer, kind).isfinite().all()) for kind in KINDS):
            raise ValueError(f"{file} holds NaN or inf in {name}: take an earlier one")


def _read_tensors(file: Path) -> Mapping[str, Tensor]:
    try:
        return load(read_bytes(file))
    except FileNotFoundError:
        raise ValueError("there is no such file (pickled adapters, .bin, are not read)") from None
    except (OSError, SafetensorError) as error:
        raise ValueError(f"it cannot be read ({error}): fetch or copy it again") from error


def _readable_config(directory: Path) -> dict[str, Any]:
    """Return what LoraConfig is to be given, of a config that asks for nothing but plain LoRA."""
    config, file = adapter_config(directory), directory / ADAPTER_CONFIG
    if config.get("peft_type") != "LORA":
        raise ValueError(
            f"{file}: peft_type is {config.get('peft_type')!r}, and only LORA is read: merge it"
            " into its base with peft (merge_and_unload, then save_pretrained)"
        )
    rank = config.get("r")
    if not isinstance(rank, int) or not 0 < rank <= _MOST_RANK:
        raise ValueError(f"{file}: r is {rank!r}, which is no rank: fetch it again")
    harmless = {*_READ, *_OF_TRAINING}
    others = sorted(
        key
        for key, value in config.items()
        if key not in harmless and value and (key, value) != ("bias", "none")
    )
    if others:
        raise ValueError(
            f"{file} asks for {', '.join(others)}, and only plain LoRA of linear layers is read:"
            " merge it into its base with peft (merge_and_unload, then save_pretrained)"
        )
    return {key: config[key] for key in _READ if config.get(key) is not None}
