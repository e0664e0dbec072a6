"""Writing a policy as a plain transformers directory, which any tool of the hub's layout loads.

    model.safetensors                       weights of at most PART bytes
    model-00001-of-00003.safetensors, ..    of more, with model.safetensors.index.json

transformers writes a GPU's weights from copies of a whole file's tensors. So it is asked for the
names alone, and the files are written slice by slice. A single weight of more than PART bytes has a
file of its own, as transformers does it: the hub's layout knows no part of a tensor.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.checkpoint import tensor_file
from models.checkpoint.adapter_files import save_adapters
from models.checkpoint.loading import quiet
from models.checkpoint.manifest import ADAPTER
from models.checkpoint.tensor_file import FORMAT, write_tensor_file
from models.files import WEIGHTS_INDEX
from models.lora.policy import with_adapters
from models.policy import Policy
from process.naming import naming

WEIGHTS = "model.safetensors"


def save_policy(policy: Policy, directory: str | Path) -> None:
    """Write config, safetensors with the hub's names, and the processor's files.

    Of a policy that is trained by its adapters, or the sampler of one, only these are written, as
    peft does it; where its checkpoints are to be whole models, those in adapter/, and the merged
    weights.

    It writes straight into `directory`, which it makes; a caller that must never leave half a
    checkpoint writes into a temporary one and renames it.

    Raises:
        OSError: the disk is full, or the directory cannot be written; it names the file.
    """
    directory = Path(directory)
    if (trained := with_adapters(policy)) is not None:
        if not trained.saves_merged:
            save_adapters(trained, directory)
            return
        save_adapters(trained, directory / ADAPTER)
        policy = trained.sampler()
    directory.mkdir(parents=True, exist_ok=True)
    _write_weights(directory, _weights_by_hub_name(policy, directory))
    policy.processor.save(directory)
    with naming(directory / "config.json"):
        _set_dtype(directory / "config.json", policy.dtype)


def saved_bytes(policy: Policy) -> int:
    """Return how many bytes `save_policy` writes, small files of settings left out."""
    weights, adapters = list(policy.parameters()), 0
    if (trained := with_adapters(policy)) is not None:
        adapters = sum(weight.nbytes for weight in trained.parameters() if weight.requires_grad)
        if not trained.saves_merged:
            return adapters
        weights = [weight for weight in trained.parameters() if not weight.requires_grad]
    beside = sum(len(content) for content in policy.processor.files.values())
    return adapters + sum(weight.numel() for weight in weights) * policy.dtype.itemsize + beside


def _weights_by_hub_name(policy: Policy, directory: Path) -> dict[str, Tensor]:
    """Return the weights by the names that transformers saves them under, in the model's order.

    Writes config.json. Tied weights are one tensor, and are saved once.
    """
    from transformers import GenerationConfig

    weights = list(policy.model.state_dict().items())
    marks: dict[int, Tensor] = {}  # one per tensor: its number in place of its values
    marked = {
        name: marks.setdefault(weight.data_ptr(), torch.tensor([number]))
        for number, (name, weight) in enumerate(weights)
    }
    usual = policy.model.generation_config
    # The processor writes the checkpoint's own; transformers refuses one that contradicts itself.
    policy.model.generation_config = GenerationConfig()
    try:
        with quiet(), _naming_weights(directory):
            policy.model.save_pretrained(directory, state_dict=marked)
            numbers = load_file(directory / WEIGHTS)
    finally:
        policy.model.generation_config = usual
    (directory / WEIGHTS).unlink()
    in_order = sorted(numbers, key=lambda name: int(numbers[name]))
    return {name: weights[int(numbers[name])][1] for name in in_order}


def _write_weights(directory: Path, weights: dict[str, Tensor]) -> None:
    """Write the weights, in as many files as they need, and the index of more than one."""
    split = split_torch_state_dict_into_shards(
        weights,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=tensor_file.PART,
    )
    for name, inside in split.filename_to_tensors.items():
        write_tensor_file(directory / name, {one: weights[one] for one in inside}, FORMAT)
    if split.is_sharded:
        counted = sum(weight.numel() for weight in weights.values())
        total = {"total_parameters": counted, **split.metadata}
        index = {"metadata": total, "weight_map": split.tensor_to_filename}
        with naming(directory / WEIGHTS_INDEX):
            text = json.dumps(index, indent=2, sort_keys=True) + "\n"
            (directory / WEIGHTS_INDEX).write_text(text, encoding="utf-8")


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
