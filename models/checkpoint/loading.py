"""Loading a policy: a directory in the hub's layout, a hub id, or the embedded `tiny`.

Never runs code that a checkpoint brings: no trust_remote_code, no pickle.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from models.architecture import QwenVL
from models.checkpoint.adapter_files import merge_adapter
from models.checkpoint.finite import check_finite_weights
from models.checkpoint.manifest import check_model
from models.devices import check_device, default_dtype
from models.files import check_weights, find_checkpoint, read_config, transformers_config
from models.named_model import model_directory
from models.policy import Policy
from models.products import sum_in_float32
from models.prompts.processor import Processor
from models.vision.features import FeatureCache

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_policy(
    path: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    freeze_vision: bool = False,
    gradient_checkpointing: bool = False,
    mapped: bool = False,
) -> Policy:
    """Return the policy of a checkpoint, every parameter as stored; an adapter is merged first.

    Args:
        path: `tiny`, a local directory or a hub id; Qwen2-VL or Qwen2.5-VL, or an adapter of one.
        dtype: of the weights, a torch dtype or "float32" or "bfloat16"; None is float32 on the
            CPU and bfloat16 on CUDA.
        device: "cpu", "cuda" (cuda:0), "cuda:1" ...
        freeze_vision: the vision tower gets no gradient, and its features are kept.
        gradient_checkpointing: trade time for memory, see `Policy.gradient_checkpointing`.
        mapped: leave weights on the CPU in the file's own pages where they are stored in this
            dtype: for a policy that goes elsewhere at once, as nobody may touch the file till then.

    Raises:
        ValueError: a missing, damaged or foreign file, an unknown dtype or device; each says what
            to do.
    """
    # Everything that can be wrong is found before gigabytes of weights are read.
    device = check_device(device)
    dtype = check_dtype(dtype, device)
    sum_in_float32()
    named, directory = find_checkpoint(path), model_directory(path)
    # The config before the weights: that a model is foreign is the more useful message.
    read_config(directory)
    check_weights(directory)
    for place in {named, directory}:
        check_model(place)
    processor = Processor.load(directory)
    model = _load_model(directory, dtype).to(device)
    if not mapped:
        _own_memory(model)
    check_finite_weights(directory, model)
    if named != directory:
        merge_adapter(model, named, directory)
    _say_whether_tied(model)
    # In train() mode, since transformers checkpoints activations in that mode only.
    policy = Policy(model, processor, path).train()
    if freeze_vision:
        policy.visual.requires_grad_(False)
        policy.feature_cache = FeatureCache()
    if gradient_checkpointing:
        policy.gradient_checkpointing = True
    return policy


def load_plain_model(path: str | Path, *, dtype: torch.dtype, device: torch.device) -> QwenVL:
    """Return transformers' own model of a checkpoint, with nothing of ours: to compare with."""
    named, directory = find_checkpoint(path), model_directory(path)
    model = _load_model(directory, dtype).to(device)
    if named != directory:
        merge_adapter(model, named, directory)
    return model


def context_tokens(path: str | Path) -> int:
    """Return how many tokens prompt and completion may have together, without loading weights.

    Raises:
        ValueError: no checkpoint, or a config.json that transformers refuses.
    """
    return transformers_config(model_directory(path)).get_text_config().max_position_embeddings


def check_dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """Return the dtype, None being the device's own; raise a ValueError for an unknown one."""
    if dtype is None:
        return default_dtype(device)
    if isinstance(dtype, str):
        dtype = DTYPES.get(dtype, dtype)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype {str(dtype)!r} is unknown: use one of {', '.join(DTYPES)}")
    return dtype


def _load_model(directory: Path, dtype: torch.dtype) -> QwenVL:
    """Return transformers' model in `dtype`, or raise when a tensor is missing or misshapen."""
    from transformers import AutoModelForImageTextToText

    # Quietly: transformers fills what is missing with random numbers and warns; `_check_report`
    # raises for it, and names the tensors.
    with quiet():
        try:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                directory,
                config=transformers_config(directory),
                dtype=dtype,
                attn_implementation="sdpa",
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that all of them are in the report
            )
        except Exception as error:  # many kinds: a config field, a shape, a key conversion
            raise ValueError(
                f"{directory} cannot be loaded ({type(error).__name__}: {error}): config.json and"
                " the weights do not fit together"
            ) from error
    model, report = loaded  # as output_loading_info asks
    _check_report(directory, report)
    # Our attention reads every earlier token, whatever window a config names.
    if getattr(model.config.text_config, "use_sliding_window", False):
        raise ValueError(
            f"{directory}: config.json asks for sliding-window attention (use_sliding_window),"
            " which is not supported: no Qwen2-VL release uses it"
        )
    return model


def _own_memory(model: QwenVL) -> None:
    """Copy what is still a view of the file: replacing that file would end the process (SIGBUS)."""
    # What is on a GPU has been copied there.
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def _say_whether_tied(model: QwenVL) -> None:
    """Make the config say whether output and input embedding are one tensor.

    A config may say tied while the file holds a head of its own: transformers then loads two
    tensors and leaves the config as it was, and whoever trusts it loses the head.
    """
    tied = model.lm_head.weight is model.model.language_model.embed_tokens.weight
    # Either config alone makes transformers tie them on loading.
    for config in (model.config, model.config.text_config):
        if hasattr(config, "tie_word_embeddings"):
            config.tie_word_embeddings = tied


def _check_report(directory: Path, report: dict[str, Any]) -> None:
    """Raise for tensors that transformers has filled with random numbers; warn about spare ones."""
    # A tied output embedding is not among the missing.
    missing = sorted(report["missing_keys"])
    misshapen = sorted(key for key, *_ in report["mismatched_keys"])
    if missing or misshapen:
        raise ValueError(
            f"{directory}: {len(missing)} tensors are missing from the weights and"
            f" {len(misshapen)} have another shape than config.json says, for example"
            f" {', '.join((missing + misshapen)[:3])}: they would be random; fetch it again"
        )
    unexpected = sorted(report["unexpected_keys"])
    # Spare tensors do no harm, but for a head or embedding: without it the model is another.
    heads = [name for name in unexpected if "lm_head" in name or "embed_tokens" in name]
    if heads:
        raise ValueError(
            f"{directory}: the weights hold {', '.join(heads)}, an output head or embedding under a"
            " name that the model does not have: leaving it out would change every answer; rename"
            " it, or fetch the checkpoint again"
        )
    if unexpected:
        warnings.warn(
            f"{directory}: {len(unexpected)} tensors of the weights are not part of the model and"
            f" were left out, for example {', '.join(unexpected[:3])}",
            stacklevel=4,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' warnings and progress bars off the terminal: we check its report."""
    from transformers.utils import logging

    # Process-wide settings of the user's: given back as they were.
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
