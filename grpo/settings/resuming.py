"""The settings of a run that goes on: run.json's, and the few that may change."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from grpo.settings.absolute import with_absolute_paths
from grpo.settings.choices import kind_of
from grpo.settings.config import GRPOConfig
from grpo.settings.moved import MOVABLE, check_counterparts, check_own_rewards, check_places
from grpo.settings.resolve import chosen_settings, refuse_unused, resolve
from grpo.settings.toml_file import typed
from process.flags import flag_of
from process.ranks import place

# All that may change when a run goes on: none of these changes what is learned, and max_steps says
# how long.
RESUMABLE = (
    *("micro_batch_tokens", "gradient_checkpointing", "reference_device", "device", "image_root"),
    *("logprob_backend", "keep_checkpoints", "eval_every", "save_every", "save_weights_only"),
    *("max_steps", "eval_blank", "verify_prefix", "profile", "max_bad_steps", "deterministic"),
    *("reshard_after_forward", "merge_adapters", "offload_optimizer"),
)


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
        ValueError: run.json holds what is no setting; as `resumed_config`, `check_places` and
            `check_own_rewards`.
    """
    _check_stored(stored["config"], run)
    config = resumed_config(stored["config"], changes)
    check_places(config, run)
    check_own_rewards(config, own_rewards, known, run)
    return config


def _check_stored(stored: Mapping[str, Any], run: Path) -> None:
    try:
        resumed_config(stored, {})
    except ValueError as error:
        raise ValueError(
            f"the settings in {run / 'run.json'} are not those of a run: {error}: restore the file"
        ) from error


def resumed_config(stored: Mapping[str, Any], given: Mapping[str, Any]) -> GRPOConfig:
    """Return a stored run's config with those flags changed that may change.

    Raises:
        ValueError: naming every given flag that could change what is learned; files given for
            others than the run has.
    """
    may_change = (*RESUMABLE, *MOVABLE)
    refused = [flag_of(name) for name in given if name not in may_change]
    if refused:
        allowed = ", ".join(flag_of(name) for name in may_change)
        raise ValueError(
            f"{', '.join(refused)} cannot change when a run is resumed: leave it away (allowed:"
            f" {allowed}), or start a new run"
        )
    exact = bool(stored.get("exact_no_think"))
    refuse_unused(given, kind_of(stored.get("method", "grpo"), exact=exact))
    known = {item.name for item in fields(GRPOConfig)}
    settings = typed({name: stored[name] for name in stored if name in known}, "run.json")
    if "device" in given or place().size > 1:  # what was resolved for the old one is anew
        settings |= {"reference_device": "auto", "gradient_checkpointing": None, "device": "auto"}
    config = with_absolute_paths(GRPOConfig(**(settings | typed(given, "flags"))))
    check_counterparts(GRPOConfig(**settings), config)
    return config


def changed_settings(
    given: Mapping[str, Any], config_file: str | None, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a command that could start a run asks for otherwise than a stored run has it.

    What it leaves to be chosen, such as a device "auto", and what it does not name at all is the
    run's. Reward functions are named again wherever the command line names them: who does so trusts
    them.

    Args:
        given: its flags, by field name.
        config_file: its --config file.
        stored: the run's settings.

    Raises:
        ValueError: as `resolve`.
    """
    fresh = asdict(with_absolute_paths(resolve(given, config_file).config))
    asked = {*chosen_settings(given, config_file), "model", "train_json"} - {"output_dir"}
    left = ("auto", None)
    then = json.loads(json.dumps(dict(stored)))
    now = json.loads(json.dumps(fresh))
    changed = {name for name in asked if now[name] not in left and now[name] != then.get(name)}
    return {name: fresh[name] for name in sorted(changed | ({"rewards"} & given.keys()))}
