"""What a reward function asks for, read off its parameters: one completion or all, and arguments.

    fn(completion, example, mode)      called once per completion; the three may be called otherwise
    fn(completions, examples, mode)    called once per step, by exactly these names

Further parameters are arguments of the user's own, from the function's table in a TOML file.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

BATCH = ("completions", "examples", "mode")
FLAG = "--reward-arguments"


@dataclass(frozen=True)
class Signature:
    """How a function is called."""

    is_batch: bool = False
    further: Mapping[str, bool] = field(default_factory=dict)  # parameter -> it has no default
    takes_any: bool = False  # it has a **parameter

    def chosen(self, name: str, short_name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the further arguments that a function is called with.

        Args:
            name: of the function, for messages.
            short_name: of its table.
            given: what its table holds.

        Raises:
            ValueError: one that it does not ask for, or one that it needs and does not get.
        """
        unknown = [key for key in given if not self._asks_for(key)]
        if unknown:
            asked = ", ".join(self.further) or "none"
            raise ValueError(
                f"reward {name!r}: the table [{short_name}] of {FLAG} has {', '.join(unknown)},"
                f" which the function does not ask for (its own parameters: {asked}): correct the"
                " name, or remove it"
            )
        missing = [key for key, is_needed in self.further.items() if is_needed and key not in given]
        if missing:
            raise ValueError(
                f"reward {name!r} asks for {', '.join(missing)}, which nothing gives: write"
                f" {missing[0]} = .. below [{short_name}] in a TOML file, and name it with {FLAG}"
            )
        return dict(given)

    def _asks_for(self, key: str) -> bool:
        is_ours = key in (*BATCH, "completion", "example")
        return key in self.further or (self.takes_any and not is_ours)


def signature_of(name: str, function: Callable) -> Signature:
    """Return how a function wants to be called, before the first completion is sampled.

    Raises:
        ValueError: in neither of the two ways.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C tell none
        return Signature()
    parameters = signature.parameters
    named = [parameter for parameter in BATCH[:2] if parameter in parameters]
    is_batch = bool(named)
    kinds = {key: one.kind for key, one in parameters.items()}
    if is_batch:
        own = [key for key in parameters if key not in BATCH]
    else:
        own = [key for number, key in enumerate(parameters) if number > 2 or _by_name(kinds[key])]
    further = {
        key: parameters[key].default is inspect.Parameter.empty
        for key in own
        if kinds[key] in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    needed = {key: None for key, is_needed in further.items() if is_needed}
    try:
        if is_batch:
            signature.bind(**dict.fromkeys(BATCH), **needed)
        else:
            signature.bind("completion", None, "think", **needed)
    except TypeError as error:
        form = f"fn({', '.join(BATCH)})" if is_batch else "fn(completion, example, mode)"
        raise ValueError(
            f"reward {name!r} cannot be called as {form} ({error}): give it these three arguments"
        ) from error
    return Signature(is_batch, further, inspect.Parameter.VAR_KEYWORD in kinds.values())


def _by_name(kind: Any) -> bool:
    return kind is inspect.Parameter.KEYWORD_ONLY
