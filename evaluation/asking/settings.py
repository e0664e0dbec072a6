"""How a checkpoint is asked: what the flags say, else what it was trained with, else the defaults.

    flag  >  groupwise.json of the checkpoint  >  configs/phantoms.toml (for `tiny`)  >  train.py

A model asked in another way than it was trained answers worse for no reason of its own, so every
value's origin is printed, and a flag that differs from the checkpoint's own value is warned about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.prompts import TEMPLATES, check_template, prompt_template
from data.turns import TurnBuilder
from evaluation.asking.shared_flags import AskingFlags, check_asking
from grpo.settings.card import CARD, KINDS, card_warnings, read_card
from grpo.settings.config import GRPOConfig
from grpo.settings.toml_file import embedded_default, read_toml
from models.files import EMBEDDED
from models.prompts.image_processor import seen_as

AS_TRAINED = AskingFlags()  # nothing is given


@dataclass(frozen=True)
class AskingSettings:
    """How questions are put to a checkpoint, and where each value came from."""

    mode: str
    image_size: int
    prompt_template: str  # the text
    max_completion_tokens: int
    origins: Mapping[str, str]  # field -> "flag", "groupwise.json", ..
    warnings: tuple[str, ...]  # flags that differ from what the checkpoint was trained with

    @property
    def turn_builder(self) -> TurnBuilder:
        """What makes the user's turn of a question."""
        return TurnBuilder(self.prompt_template, self.image_size)

    def to_json(self) -> dict[str, Any]:
        """What summary.json says of them."""
        return {name: getattr(self, name) for name in KINDS} | {"origins": dict(self.origins)}


def resolve_settings(directory: Path, asked: AskingFlags = AS_TRAINED) -> AskingSettings:
    """Return the settings for a checkpoint's directory.

    Args:
        directory: as `models.files.find_checkpoint` returns it.
        asked: what the command line says; the template is a file's name there.

    Raises:
        ValueError: an unknown mode, a value out of range, a template or a groupwise.json that
            cannot be used.
    """
    card = read_card(directory)
    flags = asked.given()
    layers = [("flag", flags), (CARD, card), *_defaults(directory)]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in ("mode", "image_size", "max_completion_tokens"):
        origins[name], values[name] = _first(layers, name)
    check_asking(values)
    template, origins["prompt_template"] = asked_template(values["mode"], flags, card)
    values["prompt_template"] = template
    warnings = card_warnings({name: values[name] for name in flags}, card)
    return AskingSettings(**values, origins=origins, warnings=warnings)


def describe(model: str, settings: AskingSettings, directory: Path | None = None) -> str:
    """Return the lines that say how a model is asked and where each value comes from.

    With the checkpoint's directory they also say how large the model sees an image.
    """
    size = settings.image_size
    shown = {
        "mode": settings.mode,
        "image_size": f"{size} x {size}" if size else "the processor's",
        "prompt_template": f"{len(settings.prompt_template):,} characters",
        "max_completion_tokens": str(settings.max_completion_tokens),
    }
    lines = [f"{'model':<16}{model}"]
    names = {"max_completion_tokens": "max tokens", "prompt_template": "prompt"}
    for name, value in shown.items():
        title = names.get(name, name.replace("_", " "))
        lines.append(f"{title:<16}{value:<18}({settings.origins[name]})")
        if name == "image_size" and size and directory is not None:
            lines.append(f"{'seen as':<16}{seen_as(directory, size)}")
    return "\n".join(lines)


def _defaults(directory: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the layers under groupwise.json: an embedded model's file, then train.py's."""
    config = GRPOConfig()
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("train.py's default", {name: getattr(config, name) for name in KINDS})
    ]
    if directory in EMBEDDED.values():
        file = embedded_default()
        shipped, _ = read_toml(file)
        layers.insert(0, (f"{file.parent.name}/{file.name}", shipped))
    return layers


def _first(layers: list[tuple[str, Mapping[str, Any]]], name: str) -> tuple[str, Any]:
    return next((origin, layer[name]) for origin, layer in layers if name in layer)


def asked_template(mode: str, flags: Mapping[str, Any], card: Mapping[str, Any]) -> tuple[str, str]:
    """Return the template's text and its origin.

    The checkpoint's own asks for the tags of the mode it was trained in: under another mode it
    would ask for one form and be scored in another.
    """
    if flags.get("prompt_template"):
        return prompt_template(mode, flags["prompt_template"]), "flag"
    if "prompt_template" in card and card.get("mode", mode) == mode:
        return check_template(card["prompt_template"], f"in {CARD}"), CARD
    return TEMPLATES[mode], f"{mode}'s own"
