"""What --model names: a whole model, or an adapter that peft or we have saved, and then its base.

An adapter's directory holds adapter_config.json, which names the base, and
adapter_model.safetensors. Config, tokenizer, image processor and weights are the base's.
"""

from pathlib import Path
from typing import Any

from models.files import (
    EMBEDDED,
    find_checkpoint,
    local_checkpoint,
    read_checkpoint_json,
    read_config,
)

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CARD = "groupwise.json"  # how a checkpoint of ours is asked: grpo/settings/card.py
BASE_MODEL = "base_model"  # its key: the name by which the run's --model was given


def model_directory(path: str | Path) -> Path:
    """Return the directory that holds a model's config, processor and weights.

    Args:
        path: as `find_checkpoint` takes it; of an adapter it is the base's directory.

    Raises:
        ValueError: as `find_checkpoint`; an adapter's base is not where its config says.
    """
    directory = find_checkpoint(path)
    return base_of(directory) if is_adapter(directory) else directory


def check_named(path: str | Path, *, whole: bool = False) -> None:
    """Raise what can be told of a model's name at once; a hub id is looked up when it is loaded.

    Args:
        path: as --model names it.
        whole: whether it may be no adapter.

    Raises:
        ValueError: nothing is there, or config.json is not of one of our families; an adapter's
            base is not there, or none is allowed.
    """
    directory = local_checkpoint(path)
    if directory is None:
        return
    if whole and is_adapter(directory):
        raise ValueError(
            f"--lora-rank puts new adapters on a whole model, and --model {path} is an adapter:"
            f" write it merged first (python -m models.checkpoint.merge {path} NEW_DIR), and name"
            " that directory; or go on training its own adapters with --resume"
        )
    read_config(model_directory(directory))


def is_adapter(directory: Path) -> bool:
    """Return whether a directory holds an adapter, and no whole model."""
    return (directory / ADAPTER_CONFIG).is_file()


def base_of(adapter: Path) -> Path:
    """Return the directory of an adapter's base.

    A path that leads nowhere from the working directory, where peft looks, is tried from the
    adapter's own.

    Raises:
        ValueError: it is not there.
    """
    named = adapter_config(adapter).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ValueError(
            f"{adapter / ADAPTER_CONFIG} names no base (base_model_name_or_path): write there which"
            " model the adapter was trained on"
        )
    for place in (Path(named), adapter / named):
        if place.is_dir():
            return place
    if (base := _noted_base(adapter)) in EMBEDDED:  # the embedded model of another place
        return EMBEDDED[base]
    try:
        return find_checkpoint(named)
    except ValueError as error:
        raise ValueError(
            f"{adapter} is an adapter of {named}, and that base is not there ({error}). If it"
            f" moved, write its new place into {ADAPTER_CONFIG}, base_model_name_or_path, and"
            " remove manifest.json, which knows the old one"
        ) from error


def adapter_config(adapter: Path) -> dict[str, Any]:
    """Return an adapter's adapter_config.json."""
    return read_checkpoint_json(adapter, ADAPTER_CONFIG, "it is no adapter")


def _noted_base(adapter: Path) -> Any:
    if not (adapter / CARD).is_file():
        return None
    return read_checkpoint_json(adapter, CARD, "").get(BASE_MODEL)
