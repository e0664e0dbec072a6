"""A reward function as a step calls it: completions and their examples in, checked floats out."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from rewards.calls import Calls, awaited
from rewards.numbers import as_finite
from rewards.user_file import described

# (completions, the example of each) -> the reward of each; mode and arguments are bound.
BoundReward = Callable[[Sequence[str], Sequence[Any]], list[float]]
# Weighted, in magnitude. The spread of a batch sums squares of rewards and advantages, in float32:
# beyond this it is inf, and divided by it every advantage is silently 0.
LARGEST_REWARD = 1e18


def each(function: Callable[[str, Any], float]) -> BoundReward:
    """Return a function of one completion and its example as one of lists, nothing checked.

    >>> each(lambda completion, _example: len(completion))(["a", "abc"], [None, None])
    [1, 3]
    """
    return lambda completions, examples: list(map(function, completions, examples))


@dataclass(frozen=True)
class OneByOne:
    """A function of one completion, called for each; what it has to wait for runs side by side."""

    name: str
    function: Callable[..., Any]  # (completion, example) -> a number, or what gives one later
    weight: float
    calls: Calls

    def __call__(self, completions: Sequence[str], examples: Sequence[Any]) -> list[float]:
        """Return the rewards.

        Raises:
            ValueError: naming function, example and completion: it fails, or returns no number.
        """
        pairs = list(zip(completions, examples, strict=True))
        values: list[Any] = []
        try:
            for completion, example in pairs:
                self.calls.pause()
                with self._blamed(completion, example):
                    values.append(self.function(completion, example))
        except BaseException:
            _drop(values)
            raise
        if any(map(inspect.isawaitable, values)):
            waiting = [
                self._settled(*pair, value) for pair, value in zip(pairs, values, strict=True)
            ]
            values = self.calls.gather(waiting)
        checked = partial(checked_number, self.name, weight=self.weight)
        return [
            checked(value, completion, example)
            for (completion, example), value in zip(pairs, values, strict=True)
        ]

    async def _settled(self, completion: str, example: Any, value: Any) -> Any:
        with self._blamed(completion, example):
            return await awaited(value) if inspect.isawaitable(value) else value

    @contextmanager
    def _blamed(self, completion: str, example: Any) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"reward {self.name!r} fails on example {example.id!r}"
                f" ({described(error, self.name)}): it must return a number for any text the policy"
                f" writes, also for {shown(completion)}"
            ) from error


@dataclass(frozen=True)
class AllAtOnce:
    """A function of all completions of a step, called once."""

    name: str
    function: Callable[..., Any]  # (completions=, examples=) -> a list, or what gives one later
    weight: float
    calls: Calls

    def __call__(self, completions: Sequence[str], examples: Sequence[Any]) -> list[float]:
        """Return the rewards; of no completions none, and the function is not called.

        Raises:
            ValueError: naming function and examples: it fails, returns no list of as many, or in
                it what is no number.
        """
        if not completions:
            return []
        self.calls.pause()
        names = list(dict.fromkeys(example.id for example in examples))
        given = f"{len(completions)} completions of examples {shown(names)}"
        try:
            values = self.function(completions=list(completions), examples=list(examples))
            if inspect.isawaitable(values):
                (values,) = self.calls.gather([awaited(values)])
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"reward {self.name!r} fails on {given} ({described(error, self.name)}): it must"
                " return a list of numbers for any texts the policy writes"
            ) from error
        listed = _listed(values)
        if listed is None or len(listed) != len(completions):
            what = shown(values) if listed is None else f"{len(listed)} values"
            raise ValueError(
                f"reward {self.name!r} returned {what} for {given}: it must return a list with one"
                f" number for each{_hint(values) if listed is None else ''}"
            )
        return [
            checked_number(self.name, value, text, example, weight=self.weight)
            for text, example, value in zip(completions, examples, listed, strict=True)
        ]


def checked_number(name: str, value: Any, completion: str, example: Any, *, weight: float) -> float:
    """Return what a reward function returned as a float.

    Args:
        name: of the function.
        value: that it returned.
        completion: that it was asked about.
        example: likewise.
        weight: of the reward in the total.

    Raises:
        ValueError: it is no finite number, or one that is too large to be compared.
    """
    number = as_finite(value)
    if number is not None and abs(number * weight) <= LARGEST_REWARD:
        return number
    asked = f"example {example.id!r} for {shown(completion)}"
    if number is None:
        raise ValueError(
            f"reward {name!r} returned {shown(value)} on {asked}: it must return a finite number,"
            f" such as 0.0 or 1.0{_hint(value)}"
        )
    raise ValueError(
        f"reward {name!r} returned {shown(value)} on {asked}: times its weight {weight:g} that"
        f" is beyond {LARGEST_REWARD:g}, where the spread of a group overflows and every"
        " advantage would be 0: return smaller numbers, or give it a smaller weight"
    )


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut when long."""
    try:
        text = repr(value).replace("\n", " ")  # an array has lines
    except Exception:  # an int of 5,000 digits, or what a class of the user's does
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:60]} .. {text[-15:]}"


def _listed(values: Any) -> list[Any] | None:
    """Return a list, a tuple, or an array or tensor of one dimension as a list; else None."""
    if len(getattr(values, "shape", ())) == 1 and hasattr(values, "tolist"):
        return values.tolist()
    return list(values) if isinstance(values, list | tuple) else None


def _hint(value: Any) -> str:
    """Return what to do about a value that is no number."""
    if value is None:
        return ": does it end without a return?"
    if hasattr(value, "item"):  # numpy's and torch's, known without importing them
        return f": return value.item() of this {type(value).__name__}"
    return ""


def _drop(values: Sequence[Any]) -> None:
    """Close coroutines that nobody will wait for."""
    for value in values:
        if inspect.iscoroutine(value):
            value.close()
