"""Format reward: the tags are right and the answer is one of the question's form."""

from collections.abc import Sequence

from rewards.parse_once import Parse
from rewards.parsing import parse_completion


def format_reward(
    completion: str,
    mode: str,
    options: Sequence[str] = (),
    parse: Parse = parse_completion,
    form: str = "letter",
) -> float:
    """Return 1.0 if ``completion`` is well formed (see `ParsedCompletion`), else 0.0.

    Whether the answer is right does not matter here. Whether it is one does: tags around a hedge
    would otherwise earn a reward for saying nothing.

    Raises:
        ValueError: unknown mode.

    >>> format_reward("<answer>B</answer>", "no_think"), format_reward("B", "no_think")
    (1.0, 0.0)
    """
    return float(parse(completion, mode, options, form).well_formed)
