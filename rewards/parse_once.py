"""The parser with a memory: rewards, rollout log and metrics of a step read a completion once."""

from collections.abc import Callable, Sequence

from rewards.parsing import ParsedCompletion, parse_completion

Parse = Callable[[str, str, Sequence[str], str], ParsedCompletion]  # text, mode, options, form


class ParseOnce:
    """`parse_completion` for one run, which reads equal completions of a step to one question once.

    A step calls `forget` before it samples, so nothing is held longer than a step.

    >>> parse = ParseOnce()
    >>> first = parse("<answer>B</answer>", "no_think", ("CT", "MRI"))
    >>> parse("<answer>B</answer>", "no_think", ("CT", "MRI")) is first
    True
    """

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, str, tuple[str, ...], str], ParsedCompletion] = {}

    def __call__(
        self, text: str, mode: str, options: Sequence[str] = (), form: str = "letter"
    ) -> ParsedCompletion:
        """Return what `parse_completion` does."""
        key = (text, mode, tuple(options), form)
        if key not in self._parsed:
            self._parsed[key] = parse_completion(*key)
        return self._parsed[key]

    def forget(self) -> None:
        """Drop what was read."""
        self._parsed.clear()
