"""Accuracy reward for multiple-choice questions."""

from collections.abc import Sequence

from rewards.letters import option_letters
from rewards.parse_once import Parse
from rewards.parsing import parse_completion


def accuracy_reward(
    completion: str,
    answer: str,
    mode: str,
    options: Sequence[str] = (),
    parse: Parse = parse_completion,
) -> float:
    """Return 1.0 if a well-formed completion commits to ``answer``, else 0.0.

    A malformed completion is the policy's mistake and scores 0.0. A malformed ``answer`` is ours
    and raises: scoring it would teach the policy something false. A run gives the ``parse`` that
    reads each completion once.

    Raises:
        ValueError: unknown mode; ``answer`` is not one capital letter, or is beyond the options.

    >>> accuracy_reward("<answer>C</answer>", "C", "no_think")
    1.0
    >>> accuracy_reward("It is <answer>C</answer>", "C", "no_think")
    0.0
    """
    letters = option_letters(options)
    if len(answer) != 1 or answer not in letters:
        raise ValueError(
            f"answer must be one letter from {letters[0]} to {letters[-1]}, got {answer!r}:"
            " correct the data set"
        )
    parsed = parse(completion, mode, options, "letter")
    return float(parsed.well_formed and parsed.choice == answer)
