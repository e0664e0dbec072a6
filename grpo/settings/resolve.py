"""Where a run's settings come from: what belongs to the model and the data, --config, flags.

    defaults < those of method and adapters < configs/phantoms.toml < model's groupwise.json
    < --config < flags

configs/phantoms.toml belongs to the embedded model, or one trained from it, on the embedded data;
on other data an embedded model takes from there how it is asked. groupwise.json says how a
checkpoint of ours was trained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from grpo.settings.absolute import is_answered_in_words, is_phantoms_name
from grpo.settings.card import KINDS, card_of, card_warnings, start_model
from grpo.settings.choices import kind_of
from grpo.settings.config import GRPOConfig
from grpo.settings.idle import idle_warnings
from grpo.settings.toml_file import Settings, embedded_default, read_toml, typed
from grpo.settings.variants import WHY_UNUSED
from models.files import EMBEDDED
from process.flags import flag_of

# Setting -> the kinds of run that alone use it. Given in another, it is an error.
_ONLY = {item.name: item.metadata["only"] for item in fields(GRPOConfig)}
GRPO_ONLY = tuple(name for name, only in _ONLY.items() if only and "sft" not in only)
_FLAG_OF_KIND = {"sft": "--method sft", "exact": "--exact-no-think"}
_WHY_UNUSED = {kind: f"{_FLAG_OF_KIND[kind]}, which {why}" for kind, (_, why) in WHY_UNUSED.items()}
SFT_DEFAULTS = {"mode": "no_think", "learning_rate": 1e-5, "beta": 0.0}
# Of adapters ten times the rate of the weights themselves: docs/lora.md has the reason.
LORA_LEARNING_RATES = {"grpo": 1e-5, "sft": 1e-4}


@dataclass(frozen=True)
class Resolved:
    """A fresh run's config, and what was not given but taken together with what was."""

    config: GRPOConfig
    by_default: bool  # neither model nor data were named
    taken: Mapping[str, tuple[str, ...]]  # where from -> the settings that came from there
    from_file: tuple[str, ...]  # the settings of the --config file that no flag replaces
    warnings: tuple[str, ...]  # of settings that do nothing beside the others


def resolve_config(given: Mapping[str, Any], config_file: str | None = None) -> GRPOConfig:
    """Return the validated config of a fresh run; see `resolve`."""
    return resolve(given, config_file).config


def resolve(given: Mapping[str, Any], config_file: str | None) -> Resolved:
    """Return the validated config of a fresh run from its flags and its --config file.

    Args:
        given: only the flags that stand on the command line, by field name.
        config_file: a TOML file, or None.

    Raises:
        ValueError: an unknown key or a value of the wrong type in a file, a model without data or
            the reverse, a flag that the method does not use, or whatever GRPOConfig refuses.
    """
    given, kind = typed(given, "flags"), _kind(given, config_file)
    chosen = chosen_settings(given, config_file)
    refuse_unused(given, kind)
    named = _embedded_names(chosen) | chosen
    _refuse_half_a_run(named)
    embedded, card = _embedded_settings(named, kind), card_of(named["model"])
    # what the supervised baseline is taught has one mode, whatever the checkpoint wrote before
    trained = {name: card[name] for name in _ASKING if name in card}
    if kind == "sft":
        trained.pop("mode", None)
    settings = _defaults(named, kind) | embedded | trained
    config = GRPOConfig(**_override(settings, named))
    taken = {
        "configs/phantoms.toml": tuple(n for n in embedded if n not in trained | named),
        f"{named['model']}/groupwise.json": tuple(n for n in trained if n not in named),
    }
    by_default = "model" not in chosen and "train_json" not in chosen
    file = {} if config_file is None else _file_settings(config_file, kind)
    from_file = tuple(name for name in file if name not in given)
    warnings = (*_left_out(config_file, kind), *idle_warnings(given, chosen, config))
    return Resolved(config, by_default, taken, from_file, warnings)


def chosen_settings(given: Mapping[str, Any], config_file: str | None) -> Settings:
    """Return the settings that a --config file and, above it, the flags name.

    Raises:
        ValueError: an unknown key or a value of the wrong type.
    """
    given, kind = typed(given, "flags"), _kind(given, config_file)
    from_file = _file_settings(config_file, kind) if config_file is not None else {}
    return _override(from_file, given)


def _kind(given: Mapping[str, Any], config_file: str | None) -> str:
    chosen = ({} if config_file is None else read_toml(config_file)[0]) | dict(given)
    exact = bool(chosen.get("exact_no_think"))
    return kind_of(chosen.get("method", "grpo"), exact=exact)


def _defaults(named: Mapping[str, Any], kind: str) -> Settings:
    """Return what a method, and adapters, have instead of GRPOConfig's own defaults."""
    settings: Settings = dict(SFT_DEFAULTS) if kind == "sft" else {}
    method = "grpo" if kind == "exact" else kind
    if named.get("lora_rank") and method in LORA_LEARNING_RATES:
        settings["learning_rate"] = LORA_LEARNING_RATES[method]
    return settings


def untrained_settings(config: GRPOConfig) -> tuple[str, ...]:
    """Return one warning per setting that is not the one the start model was trained with."""
    return card_warnings({name: getattr(config, name) for name in _ASKING}, card_of(config.model))


def _left_out(config_file: str | None, kind: str) -> Iterator[str]:
    """Yield a warning for what a --config file says that this kind of run does not use."""
    if config_file is None:
        return
    settings, sft_table = read_toml(config_file)
    names = [name for name in settings if _unused(name, kind)]
    if names and not (kind == "sft" and sft_table):  # which says that it serves both
        yield f"--config {config_file}: {', '.join(names)} not used by {_WHY_UNUSED[kind]}"


_ASKING = tuple(name for name in KINDS if name != "prompt_template")  # whose text train.py reads
_NAMES = ("model", "train_json", "eval_json")


def _embedded_names(chosen: Mapping[str, Any]) -> Settings:
    """Return the model and the data that go with what is chosen, where one of them is built in.

    Nothing is taken together with real data or another model: half a run is then an error.
    """
    shipped, _ = read_toml(embedded_default())
    names = {name: shipped[name] for name in _NAMES}
    sources = chosen.get("train_json")
    if sources is None:
        return names if chosen.get("model", "tiny") in EMBEDDED else {}
    if "model" not in chosen and all(map(is_phantoms_name, sources)):
        names["eval_json"] = sources  # held-out questions of the same slices
        if any(map(is_answered_in_words, sources)):
            names["model"] = "tiny_open"
        return names
    return {}


def _embedded_settings(named: Mapping[str, Any], kind: str) -> Settings:
    """Return what of configs/phantoms.toml belongs to this model on this data."""
    settings = _file_settings(embedded_default(), kind)
    if start_model(named["model"]) in EMBEDDED and all(map(is_phantoms_name, named["train_json"])):
        return {name: settings[name] for name in settings if name not in _NAMES}
    if named["model"] in EMBEDDED:
        return {name: settings[name] for name in settings if name in KINDS}
    return {}


def _file_settings(path: str | Path, kind: str) -> Settings:
    """Return a TOML file's settings for a kind of run; a file may serve several."""
    settings, sft_table = read_toml(path)
    if kind != "exact" or not settings.get("exact_no_think"):  # which would serve it alone
        settings = {name: settings[name] for name in settings if not _unused(name, kind)}
    return settings | sft_table if kind == "sft" else settings


def _override(lower: Settings, higher: Settings) -> Settings:
    """Return both; a length of the run given above replaces the other way to give it below."""
    settings = lower | higher
    if "epochs" in higher and "max_steps" not in higher:
        settings["max_steps"] = 0
    if "epochs" in higher and higher.get("max_steps"):
        raise ValueError(
            f"epochs={higher['epochs']} and max_steps={higher['max_steps']} both say how long the"
            " run is: give one of them"
        )
    return settings


def _unused(name: str, kind: str) -> bool:
    only = _ONLY.get(name)
    return kind in _WHY_UNUSED and only is not None and kind not in only


def refuse_unused(chosen: Mapping[str, Any], kind: str) -> None:
    """Raise a ValueError that names the chosen settings which a kind of run does not use."""
    names = [flag_of(name) for name in chosen if _unused(name, kind)]
    if names:
        raise ValueError(f"{', '.join(names)}: not used by {_WHY_UNUSED[kind]}; leave it away")


def _refuse_half_a_run(chosen: Mapping[str, Any]) -> None:
    if "model" in chosen and "train_json" not in chosen:
        raise ValueError(
            f"--model {chosen['model']} without --train-json: add the training file (with"
            " --image-root), or 'phantoms' for the embedded data"
        )
    if "train_json" in chosen and "model" not in chosen:
        raise ValueError(
            f"--train-json {' '.join(chosen['train_json'])} without --model: add a Qwen2-VL"
            " directory or hub id, or 'tiny' for the embedded model"
        )
