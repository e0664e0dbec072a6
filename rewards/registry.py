"""Reward functions by name: ours, and a user's own from ``path.py:function``.

Every one is ``fn(completion: str, example, mode: str) -> float``, or ``fn(completions, examples,
mode) -> list`` of all of a step, where an example is a `VQAExample` (data/examples.py); README has
both to begin with.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rewards.bound import AllAtOnce, BoundReward, OneByOne
from rewards.calls import Calls
from rewards.format import format_reward
from rewards.forms import FORMS, is_right
from rewards.modes import get_mode
from rewards.parse_once import Parse
from rewards.parsing import parse_completion
from rewards.signature import FLAG, Signature, signature_of
from rewards.token_f1 import token_f1
from rewards.user_file import function_in

RewardFn = Callable[..., Any]  # in either form, asynchronous or not


def _accuracy(completion: str, example: Any, mode: str, parse: Parse = parse_completion) -> float:
    if problem := FORMS[example.form].key_problem(example):  # ours, not the policy's
        raise ValueError(f"{problem}: correct the data set")
    parsed = parse(completion, mode, example.options, example.form)
    return float(parsed.well_formed and is_right(parsed.choice, example))


def _format(completion: str, example: Any, mode: str, parse: Parse = parse_completion) -> float:
    return format_reward(completion, mode, example.options, parse, example.form)


REWARDS: dict[str, RewardFn] = {"accuracy": _accuracy, "format": _format, "token_f1": token_f1}
_PARSING = (_accuracy, _format, token_f1)  # share what is read with the run's log


def load_rewards(
    names: Sequence[str],
    mode: str,
    parse: Parse = parse_completion,
    own: Mapping[str, RewardFn] | None = None,
    weights: Sequence[float] = (),
    *,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    calls: Calls | None = None,
) -> dict[str, BoundReward]:
    """Return the functions called ``names``, in that order, with ``mode`` bound.

    Our own read a completion with ``parse``, which a run shares with its log (`ParseOnce`).

    A name is one of `REWARDS`, one of ``own``, or ``path.py:function``; the latter is known by its
    function's name, which is what metrics and rollouts call it (``reward/function``).

    A function is given one completion or all of a step (rewards/signature.py). The returned ones
    take ``(completions, examples)``, as many of both, and raise ValueError, naming function and
    example, when the function fails or returns something other than a finite number, or one that is
    too large to be compared (`LARGEST_REWARD`, after its weight): a reward that is silently wrong
    teaches something false.

    Args:
        names: of the functions.
        mode: which tags a completion writes.
        parse: reads completions for our own functions.
        own: functions by name that stand in no file.
        weights: of the rewards in their total, in the order of ``names``; none: 1 each.
        arguments: short name of a function -> further arguments of it, by parameter.
        calls: how functions are waited for; a run's own has its event loop, and looks for signals.

    Raises:
        ValueError: unknown mode or name, no names, two with one name, a file that is missing or
            fails to load, a function that is missing or takes other arguments, an own one that is
            called like one of ours, arguments that nobody asks for, or that are missing.
    """
    get_mode(mode)
    own, arguments, calls = own or {}, arguments or {}, calls or Calls()
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
        if function in _PARSING:
            function, signature = partial(function, parse=parse), Signature()
        else:
            signature = signature_of(name, function)
        chosen = signature.chosen(name, short_name, arguments.get(short_name, {}))
        bound[short_name] = _bound(name, function, mode, weight, calls, signature, chosen)
    _check_tables(arguments, list(bound))
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
        return name, own[name]
    if not name.rpartition(":")[0].endswith(".py"):
        raise ValueError(
            f"unknown reward {name!r}: use one of {', '.join(REWARDS)}, or path.py:function"
        )
    return function_in(name, modules)


def _check_tables(arguments: Mapping[str, Any], names: Sequence[str]) -> None:
    if strange := [name for name in arguments if name not in names]:
        raise ValueError(
            f"{FLAG} has {', '.join(strange)}, which is no table of a reward function of this run:"
            f" write arguments below [function], one of {', '.join(names)}"
        )


def _bound(
    name: str,
    function: RewardFn,
    mode: str,
    weight: float,
    calls: Calls,
    signature: Signature,
    arguments: Mapping[str, Any],
) -> BoundReward:
    if signature.is_batch:
        of_all = partial(function, mode=mode, **arguments)
        return AllAtOnce(name, of_all, weight, calls)
    return OneByOne(name, lambda text, one: function(text, one, mode, **arguments), weight, calls)
