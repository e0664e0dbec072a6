"""groupwise.json, a checkpoint's card: how it was trained, and so how it is asked and trained on.

    mode, image_size, prompt_template (the text), max_completion_tokens    how it is asked
    method, step                                                          what wrote it
    start_model                                                           what the run began with
    base_model, base_weights     of adapters alone: what they are put on, SHA-256 of its weights

A model asked, or trained on, in another way than it was trained answers worse for no reason of its
own: evaluate.py and train.py both take what nobody gives from here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo.settings.config import GRPOConfig
from models.files import find_checkpoint
from models.named_model import BASE_MODEL, CARD
from process.paths import user_path
from process.regular import read_text

KINDS = {"mode": str, "image_size": int, "prompt_template": str, "max_completion_tokens": int}


def read_card(directory: Path) -> dict[str, Any]:
    """Return a checkpoint's groupwise.json, or an empty dictionary for one that is not ours.

    Raises:
        ValueError: it cannot be read, is not JSON, or holds a value of the wrong type.
    """
    file = directory / CARD
    if not file.is_file():
        return {}
    try:
        card = json.loads(read_text(file))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): restore it, or remove it and give --mode,"
            " --image-size, --prompt-template and --max-completion-tokens"
        ) from error
    if not isinstance(card, dict):
        raise ValueError(f"{file} holds {type(card).__name__}, not an object: restore it")
    for name, kind in KINDS.items():
        if name in card and (not isinstance(card[name], kind) or isinstance(card[name], bool)):
            raise ValueError(f"{file}: {name} is {card[name]!r}, not {kind.__name__}: restore it")
    return card


def card_for(config: GRPOConfig, template: str) -> dict[str, Any]:
    """Return the card of a run's checkpoints, the step left out.

    Args:
        config: the run's.
        template: the prompt's text.
    """
    names = ("mode", "image_size", "max_completion_tokens", "method")
    card = {**{name: getattr(config, name) for name in names}, "prompt_template": template}
    card |= {"start_model": start_model(config.model)}
    if config.lora_rank:
        from models.checkpoint.adapter_files import BASE_WEIGHTS, weights_checksum  # with torch

        card |= {
            BASE_MODEL: config.model,
            BASE_WEIGHTS: weights_checksum(find_checkpoint(config.model)),
        }
    return card


def card_of(model: str) -> dict[str, Any]:
    """Return the card of a model as --model names it; empty for `tiny`, a hub id, a foreign one."""
    directory = user_path(model)
    return read_card(directory) if model != "tiny" and directory.is_dir() else {}


def start_model(model: str) -> str:
    """Return what a model was trained from, at first: `tiny`, a hub id or a directory."""
    return card_of(model).get("start_model", model)


def card_warnings(chosen: Mapping[str, Any], card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one warning per setting that is not the one the checkpoint was trained with.

    Args:
        chosen: settings by name, prompt_template as its text.
        card: as `read_card` returns it.
    """
    return tuple(
        _difference(name, chosen[name], card[name])
        for name in KINDS
        if name in chosen and name in card and chosen[name] != card[name]
    )


def _difference(name: str, value: Any, trained: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    if name == "prompt_template":
        return f"{flag} differs from the template the checkpoint was trained with ({CARD})"
    return f"{flag} {value} differs from the {trained} the checkpoint was trained with ({CARD})"
