"""A reward's mistakes, found before weights are loaded: each is called on the first rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.bound import BoundReward
from rewards.forms import FORMS
from rewards.modes import get_mode

FIRST_ROWS = 4


def try_rewards(rewards: Mapping[str, BoundReward], examples: Sequence[Any], mode: str) -> None:
    """Call every reward on what a policy may write about the first of the examples.

    Raises:
        ValueError: of the first that fails or returns no finite number, naming function, example
            and completion.
    """
    pairs = [(text, one) for one in examples[:FIRST_ROWS] for text in trial_texts(one, mode)]
    for reward in rewards.values():
        reward([text for text, _ in pairs], [one for _, one in pairs])


def trial_texts(example: Any, mode: str) -> tuple[str, ...]:
    """Return nothing, the right answer in the mode's form, the same cut off, and nonsense.

    >>> from types import SimpleNamespace
    >>> trial_texts(SimpleNamespace(answer="B", form="letter"), "think")[:3]
    ('', '<think>It is B.</think><answer>B</answer>', '<think>It is B.</think>')
    """
    right = FORMS[example.form].written(example)
    written = {"think": f"It is {right}.", "answer": right}
    parts = [f"<{tag}>{written[tag]}</{tag}>" for tag in get_mode(mode).tags]
    whole = "".join(parts)
    cut_off = "".join(parts[:-1]) or whole[: len(whole) // 2]
    return "", whole, cut_off, "</answer> ? <think \ufffd\n\n {[(\\ 0 肺"
