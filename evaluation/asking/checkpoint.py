"""The checkpoint that flags name: how it is asked, where it runs, the policy itself."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from process.page import fitted_on


def asking(model: str, given: Mapping[str, Any]) -> tuple[Path, Any, Any]:
    """Return the checkpoint's directory, how it is asked, and what builds its prompts.

    Warnings about flags that differ from what it was trained with go to standard error.

    Raises:
        ValueError: no such checkpoint, or one of another family; what `resolve_settings` raises.
    """
    from data.turns import TurnBuilder
    from evaluation.asking.settings import resolve_settings
    from models.files import find_checkpoint, read_config

    directory = find_checkpoint(model)
    read_config(directory)
    settings = resolve_settings(directory, given)
    for warning in settings.warnings:
        print(fitted_on(sys.stderr, f"warning: {warning}"), file=sys.stderr)
    return directory, settings, TurnBuilder(settings.prompt_template, settings.image_size)


def check_machine(given: Mapping[str, Any]) -> None:
    """Raise a ValueError for a --device or --dtype that is none anywhere: torch need not tell."""
    from grpo.settings.config import CHOICES, unknown_device

    if problem := unknown_device("device", given.get("device", "auto")):
        raise ValueError(problem)
    if given.get("dtype", "auto") not in CHOICES["dtype"]:
        known = ", ".join(CHOICES["dtype"])
        raise ValueError(f"dtype {given['dtype']!r} is unknown: use one of {known}")


def chosen_device(given: Mapping[str, Any]) -> Any:
    """Return the torch device of --device, from now on the current one.

    Raises:
        ValueError: why it cannot be used.
    """
    from models.devices import choose_device, make_current

    return make_current(choose_device(given.get("device", "auto")))


def chosen_policy(model: str, device: Any, given: Mapping[str, Any]) -> Any:
    """Return the policy, loaded in --dtype."""
    from models import load_policy

    return load_policy(model, device=device, dtype=chosen_dtype(given))


def chosen_dtype(given: Mapping[str, Any]) -> str | None:
    """Return --dtype, None where the device decides."""
    dtype = given.get("dtype", "auto")
    return None if dtype == "auto" else dtype
