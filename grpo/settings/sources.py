"""Where a run's settings come from: what belongs to the model and the data, --config, flags.

    defaults < method's own < configs/phantoms.toml < model's groupwise.json < --config < flags

configs/phantoms.toml belongs to the embedded model, or one trained from it, on the embedded data;
on other data `tiny` takes from there how it is asked. groupwise.json says how a checkpoint of ours
was trained. A TOML file holds the config's field names at its top level; a table [sft] replaces
some of them where the method is sft.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from grpo.settings.card import KINDS, card_of, card_warnings, start_model
from grpo.settings.config import PATHS, GRPOConfig
from grpo.settings.moved import MOVABLE, check_counterparts, check_own_rewards, check_places
from process.paths import expanded, user_path
from process.toml import as_type, nearest, read_toml_file

# What the supervised baseline does not use: giving one of these with --method sft is an error.
GRPO_ONLY = (
    *("group_size", "num_iterations", "temperature", "top_k", "top_p", "mask_truncated"),
    *("rewards", "reward_weights", "advantage_scale", "loss_normalization", "beta"),
    *("epsilon_low", "epsilon_high", "reference_device", "verify_prefix"),
    *("grounding", "grounding_weight"),
)
SFT_DEFAULTS = {"mode": "no_think", "learning_rate": 1e-5, "beta": 0.0}

# All that may change when a run goes on: none of these changes what is learned, and max_steps says
# how long.
RESUMABLE = (
    *("micro_batch_tokens", "gradient_checkpointing", "reference_device", "device", "image_root"),
    *("logprob_backend", "keep_checkpoints", "eval_every", "save_every", "max_steps"),
    *("eval_blank", "verify_prefix", "profile", "max_bad_steps"),
)

Settings = dict[str, Any]


@dataclass(frozen=True)
class Resolved:
    """A fresh run's config, and what was not given but taken together with what was."""

    config: GRPOConfig
    by_default: bool  # neither model nor data were named
    taken: Mapping[str, tuple[str, ...]]  # where from -> the settings that came from there
    warnings: tuple[str, ...]  # of flags that do nothing beside the others


def resolve_config(given: Mapping[str, Any], config_file: str | None) -> GRPOConfig:
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
    given = typed(given, "flags")
    method = given.get("method")
    if method is None:
        method = (
            read_toml(config_file)[0].get("method", "grpo") if config_file is not None else "grpo"
        )
    from_file = _file_settings(config_file, method) if config_file is not None else {}
    chosen = _override(from_file, given)
    _refuse_grpo_flags(given, method)
    named = _embedded_names(chosen) | chosen
    _refuse_half_a_run(named)
    embedded, card = _embedded_settings(named, method), card_of(named["model"])
    # what the supervised baseline is taught has one mode, whatever the checkpoint wrote before
    trained = {name: card[name] for name in _ASKING if name in card}
    if method == "sft":
        trained.pop("mode", None)
    settings = (dict(SFT_DEFAULTS) if method == "sft" else {}) | embedded | trained
    config = GRPOConfig(**_override(settings, named))
    taken = {
        "configs/phantoms.toml": tuple(n for n in embedded if n not in trained | named),
        f"{named['model']}/groupwise.json": tuple(n for n in trained if n not in named),
    }
    by_default = "model" not in chosen and "train_json" not in chosen
    return Resolved(config, by_default, taken, tuple(_idle(given, config)))


def untrained_settings(config: GRPOConfig) -> tuple[str, ...]:
    """Return one warning per setting that is not the one the start model was trained with."""
    return card_warnings({name: getattr(config, name) for name in _ASKING}, card_of(config.model))


def _idle(given: Mapping[str, Any], config: GRPOConfig) -> list[str]:
    """Return warnings for flags that do nothing beside the others."""
    warnings = []
    names = [name for name in ("eval_every", "eval_limit", "eval_blank") if given.get(name)]
    if names and not config.eval_json:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        warnings.append(
            f"{flags}: nothing is evaluated in this run, name held-out questions: --eval-json FILE"
        )
    if given.get("reference_device", "auto") != "auto" and config.beta == 0:
        warnings.append("--reference-device: without a KL term (--beta 0) no reference is loaded")
    return warnings


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
        return names if chosen.get("model", "tiny") == "tiny" else {}
    if "model" not in chosen and all(map(_is_phantoms, sources)):
        return names | {"eval_json": sources}  # held-out questions of the same slices
    return {}


def _embedded_settings(named: Mapping[str, Any], method: str) -> Settings:
    """Return what of configs/phantoms.toml belongs to this model on this data."""
    settings = _file_settings(embedded_default(), method)
    if start_model(named["model"]) == "tiny" and all(map(_is_phantoms, named["train_json"])):
        return {name: settings[name] for name in settings if name not in _NAMES}
    if named["model"] == "tiny":
        return {name: settings[name] for name in settings if name in KINDS}
    return {}


def _file_settings(path: str | Path, method: str) -> Settings:
    """Return a TOML file's settings for a method; a file may serve both."""
    settings, sft_table = read_toml(path)
    if method == "sft":
        settings = {name: settings[name] for name in settings if not _unused(name, method)}
        settings |= sft_table
    return settings


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


def embedded_default() -> Path:
    """The settings of `python train.py` without a flag; shipped with the project."""
    return Path(str(files("configs"))) / "phantoms.toml"


def shipped_or_own(name: str | Path) -> Path:
    """Return the file of this name; where there is none, the shipped one that is called like it.

    A shipped file is named with or without ``configs/`` and ``.toml``: an installed groupwise has
    no such folder beside it. Any other name stays as it is.
    """
    path = Path(name)
    shipped = embedded_default().parent / f"{path.name.removesuffix('.toml')}.toml"
    by_name = bool(path.name) and str(path.parent) in (".", "configs")
    return shipped if by_name and not path.exists() and shipped.is_file() else path


def read_toml(path: str | Path) -> tuple[Settings, Settings]:
    """Return the settings of a TOML file, or of a shipped one, and those of its [sft] table."""
    table = read_toml_file(shipped_or_own(path), f"config {path}", "phantoms.toml")
    sft = table.pop("sft", {})
    if not isinstance(sft, dict):
        raise ValueError(f"config {path}: [sft] must be a table of settings, got {sft!r}")
    return typed(table, f"config {path}"), typed(sft, f"config {path}, [sft]")


def typed(table: Mapping[str, Any], where: str) -> Settings:
    """Return the settings of a parsed file as the config's fields want them, all checked.

    Raises:
        ValueError: naming every unknown key, with the nearest known one, and every wrong type.
    """
    hints = get_type_hints(GRPOConfig)
    settings, problems = {}, []
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in hints:
            near = nearest(name, hints)
            problems.append(f"unknown key {key!r}" + (f": is it {near}?" if near else ""))
            continue
        try:
            settings[name] = as_type(value, hints[name])
            if name in PATHS:
                settings[name] = _expanded(settings[name])
        except TypeError:
            flag = f"--{name.replace('_', '-')}"
            problems.append(f"{key}={value!r} has the wrong type: see {flag} in --help")
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
    return settings


def _expanded(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return expanded(value) if isinstance(value, str) else tuple(map(expanded, value))


def _unused(name: str, method: str) -> bool:
    return method == "sft" and name in GRPO_ONLY


def _refuse_grpo_flags(chosen: Mapping[str, Any], method: str) -> None:
    names = [f"--{name.replace('_', '-')}" for name in chosen if _unused(name, method)]
    if names:
        raise ValueError(
            f"{', '.join(names)}: not used by --method sft, which neither samples nor scores; leave"
            " it away"
        )


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


def with_absolute_paths(config: GRPOConfig) -> GRPOConfig:
    """Return the config with every local path absolute: a run can be resumed from any directory.

    Names that are no path here stay: hub ids, registered rewards, and the built-in `tiny` and
    `phantoms`, also where a file or folder of that name is there.
    """

    def absolute(name: str) -> str:
        if _is_phantoms(name):
            return name
        path = user_path(name)
        return str(path.absolute() if path.exists() else expanded(name))

    rewards = []
    for name in config.rewards:
        file, colon, function = name.rpartition(":")
        rewards.append(f"{absolute(file)}:{function}" if colon else name)
    return replace(
        config,
        model=config.model if config.model == "tiny" else absolute(config.model),
        train_json=tuple(absolute(name) for name in config.train_json if name),
        eval_json=tuple(absolute(name) for name in config.eval_json),
        image_root=config.image_root and absolute(config.image_root),
        prompt_template=config.prompt_template and absolute(config.prompt_template),
        rewards=tuple(rewards),
        output_dir=expanded(config.output_dir),
    )


def _is_phantoms(name: str) -> bool:
    """As data.sources.is_phantoms, which this package does not import; a test compares the two."""
    return name == "phantoms" or name.startswith("phantoms:")


def config_to_resume(
    run: Path,
    stored: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    own_rewards: Collection[str],
    known: Collection[str],
) -> GRPOConfig:
    """Return the config of a run that goes on, all that it names being there.

    Args:
        run: its directory.
        stored: its run.json.
        changes: settings by name, as `resumed_config` takes them.
        own_rewards: names of the reward functions that are handed in.
        known: names of those that need not be.

    Raises:
        ValueError: as `resumed_config`, `check_places` and `check_own_rewards`.
    """
    config = resumed_config(stored["config"], changes)
    check_places(config, run)
    check_own_rewards(config, own_rewards, known, run)
    return config


def resumed_config(stored: Mapping[str, Any], given: Mapping[str, Any]) -> GRPOConfig:
    """Return a stored run's config with those flags changed that may change.

    Raises:
        ValueError: naming every given flag that could change what is learned; files given for
            others than the run has.
    """
    may_change = (*RESUMABLE, *MOVABLE)
    refused = [f"--{name.replace('_', '-')}" for name in given if name not in may_change]
    if refused:
        allowed = ", ".join(f"--{name.replace('_', '-')}" for name in may_change)
        raise ValueError(
            f"{', '.join(refused)} cannot change when a run is resumed: leave it away (allowed:"
            f" {allowed}), or start a new run"
        )
    _refuse_grpo_flags(given, stored.get("method", "grpo"))
    known = {item.name for item in fields(GRPOConfig)}
    settings = typed({name: stored[name] for name in stored if name in known}, "run.json")
    if "device" in given:  # what was resolved for the old device is resolved anew for this one
        settings |= {"reference_device": "auto", "gradient_checkpointing": None}
    config = with_absolute_paths(GRPOConfig(**(settings | typed(given, "flags"))))
    check_counterparts(GRPOConfig(**settings), config)
    return config
