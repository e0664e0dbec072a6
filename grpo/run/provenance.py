"""What run.json says of where a run came from, and the check that a resumed run still has it."""

import hashlib
import inspect
import json
import platform
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from grpo.settings.config import GRPOConfig
from grpo.settings.moved import names_now
from models.checkpoint.checksums import file_checksum
from models.checkpoint.manifest import MANIFEST, is_listed
from models.files import find_checkpoint
from models.named_model import base_of, is_adapter
from process.paths import user_path

PACKAGES = ("groupwise", "torch", "transformers", "safetensors", "numpy", "pillow")


def machine() -> dict[str, Any]:
    """Return library versions and the machine's devices."""
    import torch  # here alone: checksums are compared before anything needs torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": {"python": platform.python_version(), **{n: _version(n) for n in PACKAGES}},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()}
        | {"gpus": gpus},
    }


def checked_sources(
    config: GRPOConfig,
    template: str,
    data: Mapping[str, Mapping[str, str]],
    own_rewards: Mapping[str, Callable],
    stored: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Return `source_checksums`; those of a run that goes on must be what its run.json says.

    Raises:
        ValueError: as `check_noted` and `check_unchanged`.
    """
    found = source_checksums(config, template, data, own_rewards)
    if stored is not None:
        renamed = names_now(stored["config"], config)
        # Of a function that was typed at a prompt there was no source to note.
        unnoted = {f"reward {name}" for name in own_rewards}
        check_noted(stored["checksums"], found.keys() - unnoted, renamed)
        check_unchanged(stored["checksums"], found, renamed)
    return found


def source_checksums(
    config: GRPOConfig,
    template: str,
    data: Mapping[str, Mapping[str, str]],
    own_rewards: Mapping[str, Callable] | None = None,
) -> dict[str, str]:
    """Return a SHA-256 of everything that decides what is learned and is not in the config.

    Args:
        config: names the start model and the user's reward functions, whose files are read.
        template: the prompt's text.
        data: part of the data -> name of a source -> its SHA-256.
        own_rewards: functions that stand in no file named by the config: their source, where
            Python knows it.
    """
    sums = {f"{part} data {name}": data[part][name] for part in data for name in data[part]}
    sums |= _reward_files(config)
    for name, function in (own_rewards or {}).items():
        if (source := _source(function)) is not None:
            sums[f"reward {name}"] = text_checksum(source)
    sums["prompt template"] = text_checksum(template)
    sums[f"start model {config.model}"] = model_checksum(find_checkpoint(config.model))
    return sums


def check_unchanged_rewards(stored: Mapping[str, Any], config: GRPOConfig) -> None:
    """Raise before a reward file of a resumed run is run that is not the one which the run had.

    Args:
        stored: run.json.
        config: of the resumed run; its files may lie elsewhere than the run's.

    Raises:
        ValueError: as `check_noted` and `check_unchanged`.
    """
    found, renamed = _reward_files(config), names_now(stored["config"], config)
    check_noted(stored["checksums"], found, renamed)
    then = {k: v for k, v in stored["checksums"].items() if renamed.get(k, k) in found}
    check_unchanged(then, found, renamed)


def _reward_files(config: GRPOConfig) -> dict[str, str]:
    """Return the checksums of the files that rewards come from, their arguments among them."""
    files = {name: user_path(name.rpartition(":")[0]) for name in config.rewards if ".py:" in name}
    sums = {f"reward {name}": file_checksum(file) for name, file in files.items()}
    if named := config.reward_arguments:
        sums[f"reward arguments {named}"] = file_checksum(user_path(named))
    return sums


def run_description(
    config: GRPOConfig, facts: Mapping[str, Any], stored: Mapping[str, Any] | None, step: int
) -> dict[str, Any]:
    """Return run.json: of a fresh run, or of a resumed one with a note of what changed.

    Args:
        config: the resolved settings.
        facts: what else is known of the run, by run.json's keys.
        stored: run.json of the run that is resumed, or None.
        step: after which it is resumed.
    """
    settings = json.loads(json.dumps(asdict(config)))  # tuples as run.json has them
    resumed = []
    if stored is not None:
        changed = {k: v for k, v in settings.items() if stored["config"].get(k) != v}
        resumed = [*stored["resumed"], {"from_step": step, "changed": changed}]
    seeds = dict.fromkeys(("order", "sampling", "eval_sample"), config.seed)
    found = machine()
    if config.lora_rank:
        found["versions"]["peft"] = _version("peft")
    return {"config": settings, "seeds": seeds, **facts, **found, "resumed": resumed}


def model_checksum(directory: Path) -> str:
    """Return one SHA-256 over a checkpoint's weights, tokenizer and settings, names included.

    Of an adapter its base's checksum is part of it.
    """
    digest = hashlib.sha256()
    kinds = {".json", ".safetensors", ".jinja", ".txt"}
    # a list of our own of the files beside it says nothing more of the model
    listed = {MANIFEST} if is_listed(directory) else set()
    for file in sorted(file for file in directory.iterdir() if file.suffix in kinds):
        if file.name not in listed:
            digest.update(f"{file.name} {file_checksum(file)}\n".encode())
    if is_adapter(directory):
        digest.update(f"base {model_checksum(base_of(directory))}\n".encode())
    return digest.hexdigest()


def text_checksum(text: str) -> str:
    """Return a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_noted(
    stored: Mapping[str, Any], sources: Collection[str], renamed: Mapping[str, str]
) -> None:
    """Raise if run.json lacks the checksum of a source: what it was could not be told.

    Args:
        stored: run.json's checksums by name.
        sources: today's names of all that the run comes from.
        renamed: names in run.json -> today's.

    Raises:
        ValueError: naming every source without one.
    """
    noted = {renamed.get(name, name) for name, value in stored.items() if isinstance(value, str)}
    if lacking := sorted(set(sources) - noted):
        raise ValueError(
            f"cannot resume: run.json has no checksum of {', '.join(lacking)}, so that it cannot be"
            " told whether it is still what the run began with: restore run.json, or start a new"
            " run"
        )


def check_unchanged(
    stored: Mapping[str, Any], found: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> None:
    """Raise if a source of the run is not what it was when the run began.

    Args:
        stored: run.json's checksums by name.
        found: today's.
        renamed: names in run.json -> today's, of what lies elsewhere now (grpo/settings/moved.py).

    Raises:
        ValueError: naming every source that differs, with both checksums.
    """
    renamed = renamed or {}
    changed = []
    for name, then in stored.items():
        today = renamed.get(name, name)
        now = found.get(today)
        if now != then:
            moved = f", then at {name}" if today != name else ""
            changed.append(
                f"{today} (SHA-256 {str(then)[:12]} then, {(now or 'none')[:12]} now{moved})"
            )
    if changed:
        raise ValueError(
            f"cannot resume: {', '.join(changed)} changed since the run began, so it would not be"
            " the same run: restore it, or start a new run"
        )


def _source(function: Callable) -> str | None:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or no plain function
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source" if package == "groupwise" else "unknown"
