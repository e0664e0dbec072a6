"""What Python code of other people may rely on: import paths, parameters, fields, names.

Parameters and fields are kept by name, with their defaults; annotations may become more exact.
"""

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.inventory.running import ROOT

FUNCTIONS = (
    "grpo.advantages.group_advantages",
    "grpo.loss.token_weights",
    "grpo.loss.policy_loss",
    "grpo.logprobs.token_logprobs",
    "rewards.parse_completion",
    "rewards.accuracy_reward",
    "rewards.format_reward",
    "data.load_examples",
    "models.load_policy",
)
NOT_FIXED = ("grpo.step.train_step",)  # it is there; what it takes may change
RECORDS = ("data.VQAExample", "rewards.ParsedCompletion", "grpo.step.StepResult")
# A package that imports on first use does not list its names; what was there is looked up.
PACKAGES: dict[str, tuple[str, ...]] = {
    "data": (),
    "models": ("Policy", "load_policy"),
    "rewards": (),
    "grpo.logprobs": (),
}
OF_THE_CONFIG = {"model", "train_json", "group_size", "learning_rate", "output_dir"}
REGISTRIES = ("rewards.MODES", "rewards.REWARDS")


def all_contracts() -> dict[str, Any]:
    """Return functions, records, the run's config, exported names and registries."""
    functions: dict[str, Any] = {
        **{path: _parameters(function) for path, function in _found(*FUNCTIONS)},
        **{path: "any parameters" for path, _ in _found(*NOT_FIXED)},
    }
    return {
        "functions": functions,
        "records": {path: _fields(record) for path, record in _found(*RECORDS)},
        "config of a run": _fields(_config()),
        "exports": {name: _exported(name, known) for name, known in PACKAGES.items()},
        "registries": {path: sorted(registry) for path, registry in _found(*REGISTRIES)},
    }


def _found(*paths: str) -> Iterator[tuple[str, Any]]:
    """Yield the import paths that lead somewhere, and where."""
    for path in paths:
        module, name = path.rsplit(".", 1)
        try:
            yield path, getattr(importlib.import_module(module), name)
        except AttributeError:
            continue
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise  # something that the module itself needs


def _parameters(function: Callable[..., Any]) -> dict[str, str]:
    parameters = {}
    for place, item in enumerate(inspect.signature(function).parameters.values(), start=1):
        how = "by name" if item.kind is item.KEYWORD_ONLY else f"number {place}"
        default = getattr(item.default, "__name__", repr(item.default))  # a function's own name
        parameters[item.name] = how if item.default is item.empty else f"{how}, default {default}"
    return parameters


def _fields(record: type) -> dict[str, str]:
    return {
        item.name: "given" if item.default is dataclasses.MISSING else f"default {item.default!r}"
        for item in dataclasses.fields(record)
    }


def _config() -> type:
    """Return the settings that train.py's flags fill: known by what they hold, wherever it is."""
    importlib.import_module("train")
    ours = [
        module
        for module in list(sys.modules.values())
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(ROOT)
    ]
    return next(
        value
        for module in ours
        for value in vars(module).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and {item.name for item in dataclasses.fields(value)} >= OF_THE_CONFIG
    )


def _exported(name: str, known: tuple[str, ...]) -> list[str]:
    package = importlib.import_module(name)
    names = {*getattr(package, "__all__", ()), *known}
    return sorted(one for one in names if hasattr(package, one))
