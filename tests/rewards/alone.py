"""Rewards of one completion at a time, for tests; a step calls them with lists."""

from collections.abc import Callable
from typing import Any

from rewards import load_rewards


def load_alone(*args: Any, **options: Any) -> dict[str, Callable[[str, Any], float]]:
    """Return what `load_rewards` does, as functions of one completion and its example."""
    return {name: _alone(reward) for name, reward in load_rewards(*args, **options).items()}


def _alone(reward: Callable) -> Callable[[str, Any], float]:
    def alone(completion: str, example: Any) -> float:
        (value,) = reward([completion], [example])
        return value

    return alone
