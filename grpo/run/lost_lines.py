"""What a run that goes on says, once, of lines that its disk has lost; run.json keeps it.

"resumed": [{"from_step": 80, .., "lost": {"metrics.jsonl":
    {"damaged_lines": [3], "missing_steps": [[3, 3], [7, 9]]}}}]      first and last of each range
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grpo.run.line_log import Found
from process.bars import warn
from process.called import command_line


def noted(
    description: Mapping[str, Any], run: Path, found: Mapping[str, Found]
) -> Mapping[str, Any]:
    """Return run.json with what is missing that no earlier resumption has told, and tell it.

    Args:
        description: run.json of a run that goes on.
        run: its directory.
        found: what its files hold, by their names.
    """
    *before, now = description["resumed"]
    lost = {}
    for name, one in found.items():
        known = set(_known_steps(before, name))
        missing = [step for step in one.missing if step not in known]
        if one.damaged or missing:
            steps = _ranges(missing)
            lost[name] = {"damaged_lines": one.damaged, "missing_steps": steps}
            warn(_sentence(run, name, one.damaged, steps))
    return {**description, "resumed": [*before, now | {"lost": lost}]} if lost else description


def _sentence(run: Path, name: str, damaged: list[int], steps: list[tuple[int, int]]) -> str:
    parts = []
    if damaged:
        lines = _text(_ranges(damaged))
        parts.append(f"line{'s' * (len(damaged) > 1)} {lines} damaged, moved to {name}.damaged")
    if steps:
        more = len(steps) > 1 or steps[0][0] < steps[0][1]
        parts.append(f"step{'s' * more} {_text(steps)} missing or not complete")
    text = f"{run / name}: {'; '.join(parts)}. The run goes on: its weights do not hang on it"
    if steps:
        command = command_line("train", "--resume", str(run), "--resume-from", "step-..")
        text += (
            "; to have those steps again, end it and go on from a checkpoint before them, if there"
            f" is one: {command}"
        )
    return text


def _known_steps(before: Iterable[Mapping[str, Any]], name: str) -> Iterable[int]:
    for one in before:
        for first, last in one.get("lost", {}).get(name, {}).get("missing_steps", ()):
            yield from range(first, last + 1)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of whole numbers, in their order.

    >>> _ranges([3, 7, 8, 9])
    [(3, 3), (7, 9)]
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _text(ranges: list[tuple[int, int]]) -> str:
    """Return ranges for a message, the first ten of them.

    >>> _text([(3, 3), (7, 9)])
    '3, 7-9'
    """
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:10]]
    return ", ".join(texts) + " .." * (len(ranges) > 10)
