"""Reward functions by name: ours, and a user's own from ``path.py:function``.

Every one is ``fn(completion: str, example, mode: str) -> float``, where ``example`` is a
`VQAExample` (data/examples.py); README has one to begin with.
"""

import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from rewards.format import format_reward
from rewards.forms import FORMS, is_right
from rewards.modes import get_mode
from rewards.parse_once import Parse
from rewards.parsing import parse_completion
from rewards.token_f1 import token_f1

RewardFn = Callable[[str, Any, str], float]  # (completion, example, mode) -> reward
BoundReward = Callable[[str, Any], float]  # the mode is bound, the result checked
# Weighted, in magnitude. The spread of a batch sums squares of rewards and advantages, in float32:
# beyond this it is inf, and divided by it every advantage is silently 0.
LARGEST_REWARD = 1e18


def _accuracy(completion: str, example: Any, mode: str, parse: Parse = parse_completion) -> float:
    if problem := FORMS[example.form].key_problem(example):  # ours, not the policy's
        raise ValueError(f"{problem}: correct the data set")
    parsed = parse(completion, mode, example.options, example.form)
    return float(parsed.well_formed and is_right(parsed.choice, example))


def _format(completion: str, example: Any, mode: str, parse: Parse = parse_completion) -> float:
    return format_reward(completion, mode, example.options, parse, example.form)


REWARDS: dict[str, RewardFn] = {"accuracy": _accuracy, "format": _format, "token_f1": token_f1}


def load_rewards(
    names: Sequence[str],
    mode: str,
    parse: Parse = parse_completion,
    own: Mapping[str, RewardFn] | None = None,
    weights: Sequence[float] = (),
) -> dict[str, BoundReward]:
    """Return the functions called ``names``, in that order, with ``mode`` bound.

    Our own read a completion with ``parse``, which a run shares with its log (`ParseOnce`).

    A name is one of `REWARDS`, one of ``own``, or ``path.py:function``; the latter is known by its
    function's name, which is what metrics and rollouts call it (``reward/function``).

    The returned functions take ``(completion, example)`` and raise ValueError, naming function and
    example, when the function fails or returns something other than a finite number, or one that is
    too large to be compared (`LARGEST_REWARD`, after its weight): a reward that is silently wrong
    teaches something false.

    Args:
        names: of the functions.
        mode: which tags a completion writes.
        parse: reads completions for our own functions.
        own: functions by name that stand in no file.
        weights: of the rewards in their total, in the order of ``names``; none: 1 each.

    Raises:
        ValueError: unknown mode or name, no names, two with one name, a file that is missing or
            fails to load, a function that is missing or takes other arguments, an own one that is
            called like one of ours.
    """
    get_mode(mode)
    own = own or {}
    _check_names(own)
    if not names:
        raise ValueError(f"no reward functions given: name at least one of {', '.join(REWARDS)}")
    modules: dict[Path, ModuleType] = {}  # a file with two rewards runs once
    bound: dict[str, BoundReward] = {}
    for name, weight in zip(names, weights or [1.0] * len(names), strict=True):
        short_name, function = _find(name, modules, own)
        if short_name in bound:
            raise ValueError(
                f"two reward functions are called {short_name!r} in {list(names)}: metrics go by"
                " that name, so remove or rename one"
            )
        if function in (_accuracy, _format, token_f1):
            function = partial(function, parse=parse)
        bound[short_name] = _bind(name, function, mode, weight)
    return bound


def _check_names(own: Mapping[str, RewardFn]) -> None:
    for name in own:
        if name in REWARDS or not name.isidentifier():
            raise ValueError(
                f"own reward function {name!r}: call it otherwise, with a name such as a function"
                f" has, and none of {', '.join(REWARDS)}"
            )


def _find(
    name: str, modules: dict[Path, ModuleType], own: Mapping[str, RewardFn]
) -> tuple[str, RewardFn]:
    """Return what metrics call the function named ``name``, and the function."""
    if name in REWARDS:
        return name, REWARDS[name]
    if name in own:
        _check_arguments(name, own[name])
        return name, own[name]
    file, colon, function_name = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise ValueError(
            f"unknown reward {name!r}: use one of {', '.join(REWARDS)}, or path.py:function"
        )
    path = _file(file)
    if path not in modules:
        modules[path] = _load_file(name, path)
    function = getattr(modules[path], function_name, None)
    if not callable(function):
        raise ValueError(
            f"reward {name!r}: {path} defines no function {function_name!r}: check its spelling"
        )
    _check_arguments(name, function)
    return function_name, function


def _check_arguments(name: str, function: Callable) -> None:
    """Raise before the first completion is sampled, not after it."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C tell none
        return
    try:
        signature.bind("completion", None, "think")
    except TypeError as error:
        raise ValueError(
            f"reward {name!r} cannot be called as fn(completion, example, mode) ({error}): give it"
            " these three arguments"
        ) from error


def _load_file(name: str, path: Path) -> ModuleType:
    """Return the module in ``path``, under a private name so that it can shadow no other module."""
    if not path.is_file():
        raise ValueError(f"reward {name!r}: there is no file {path}: check the path")
    module_name = f"_groupwise_reward_{sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None, f"no loader for {path}"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up by name
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that what stands beside it shadows nothing
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ValueError(
            f"reward {name!r}: {path} fails while it is loaded"
            f" ({_describe(error, str(path))}): run it with python to see why"
        ) from error
    return module


def _bind(name: str, function: RewardFn, mode: str, weight: float) -> BoundReward:
    file = str(_file(name.rpartition(":")[0]))  # a registered one has none

    def reward(completion: str, example: Any) -> float:
        try:
            value = function(completion, example, mode)
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"reward {name!r} fails on example {example.id!r} ({_describe(error, file)}): it"
                " must return a number for any text the policy writes, also for"
                f" {_shown(completion)}"
            ) from error
        if not isinstance(value, Real) or not _is_finite(value):
            raise ValueError(
                f"reward {name!r} returned {_shown(value)} on example {example.id!r} for"
                f" {_shown(completion)}: it must return a finite number, such as 0.0 or"
                f" 1.0{_hint(value)}"
            )
        if abs(float(value) * weight) > LARGEST_REWARD:
            raise ValueError(
                f"reward {name!r} returned {_shown(value)} on example {example.id!r} for"
                f" {_shown(completion)}: times its weight {weight:g} that is beyond"
                f" {LARGEST_REWARD:g}, where the spread of a group overflows and every advantage"
                " would be 0: return smaller numbers, or give it a smaller weight"
            )
        return float(value)

    return reward


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the floats
        return False


def _hint(value: Any) -> str:
    """Return what to do about a value that is no number."""
    if value is None:
        return ": does it end without a return?"
    if hasattr(value, "item"):  # numpy's and torch's, known without importing them
        return f": return value.item() of this {type(value).__name__}"
    return ""


def _shown(value: Any) -> str:
    """Return a value as Python writes it, cut when long."""
    try:
        text = repr(value)
    except Exception:  # an int of 5,000 digits, or what a class of the user's does
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:60]} .. {text[-15:]}"


def _file(name: str) -> Path:
    return Path(os.path.expanduser(name)).resolve()  # noqa: PTH111 Path's raises for no user


def _describe(error: BaseException, file: str) -> str:
    """Return the error's type, words and line in the user's file, else the last one."""
    whole = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in whole if frame.filename == file] or whole
    line = f", line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return f"{type(error).__name__}: {error}{line}"
