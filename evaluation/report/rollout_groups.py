"""The groups of completions that a run's report shows: some of the first step, some of the last.

What the page takes from them is bounded whatever the run: GROUPS per step, COMPLETIONS of each,
CHARACTERS of each text, and what pictures.py says of images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.in_words import in_words, key_in_words, lettered_options
from evaluation.report.pictures import ReportImages
from evaluation.report.run_files import RunFiles, RunLines
from process.tables.document import heading, paragraph, preformatted
from process.tables.html import html_table
from process.tables.value import Foreign, Table, columns_of

GROUPS = 3
COMPLETIONS = 16
CHARACTERS = 2000
END_BYTES = 64 << 20  # of rollouts.jsonl that are read at its beginning, and at its end

RolloutRow = Mapping[str, Any]

_FIELDS = (
    (int, ("step", "index", "completion_tokens")),
    (str, ("id", "question", "answer", "completion")),
    (str | None, ("choice",)),
    (int | float, ("reward", "advantage")),
    (list, ("images", "options")),
    (dict, ("rewards",)),
)


def rollout_parts(files: RunFiles, pictures: ReportImages) -> list[str]:
    """Return the HTML of the groups to look at; nothing without rollouts.jsonl."""
    return [_group(rows, pictures) for step in edge_steps(files) for rows in telling_groups(step)]


def edge_steps(files: RunFiles) -> list[list[RolloutRow]]:
    """Return the rows of the first and of the last step in rollouts.jsonl.

    Of a long file only its two ends are read; memory holds two steps at a time.
    """
    first: list[RolloutRow] = []
    newest: list[RolloutRow] = []
    with RunLines(files, "rollouts.jsonl", check_rollout) as rows:
        for row in rows:
            first.append(row)
            if row["step"] != first[0]["step"] or rows.read > END_BYTES:
                newest.append(first.pop())
                break
        rows.go_near_end(END_BYTES)
        for row in rows:
            if newest and row["step"] != newest[0]["step"]:
                newest = []
            newest.append(row)
    return [rows for rows in (first, newest) if rows]


def check_rollout(row: RolloutRow) -> None:
    """Raise a TypeError or KeyError for a row that is none of rollouts.jsonl."""
    for kind, names in _FIELDS:
        for name in names:
            if not isinstance(row[name], kind):
                raise TypeError(f"{name} is {type(row[name]).__name__}")
    for name in ("images", "options"):
        if not all(isinstance(item, str) for item in row[name]):
            raise TypeError(f"{name} holds what is no text")
    if not all(isinstance(value, int | float) for value in row["rewards"].values()):
        raise TypeError("rewards holds what is no number")
    _check_key(row)


def _check_key(row: RolloutRow) -> None:
    """Check what only rows hold that are not answered by letter."""
    accepted = row.get("accepted", [])
    if not isinstance(row.get("form", ""), str) or not isinstance(accepted, list):
        raise TypeError("form or accepted is of another kind")
    if not all(isinstance(text, str) for text in accepted):
        raise TypeError("accepted holds what is no text")
    for name in ("absolute_tolerance", "relative_tolerance"):
        if not isinstance(row.get(name, 0), int | float):
            raise TypeError(f"{name} is no number")


def telling_groups(rows: Sequence[RolloutRow]) -> list[list[RolloutRow]]:
    """Return GROUPS groups of a step, those first whose rewards differ: they taught something."""
    groups: list[list[RolloutRow]] = []
    for row in rows:  # prompt-major: a group begins with index 0
        if row["index"] == 0 or not groups:
            groups.append([])
        groups[-1].append(row)
    return sorted(groups, key=_agrees)[:GROUPS]  # stable: in the step's order otherwise


def _agrees(rows: Sequence[RolloutRow]) -> bool:
    return len({row["reward"] for row in rows}) == 1


def _group(rows: Sequence[RolloutRow], pictures: ReportImages) -> str:
    """Return a group: its images, its question, its completions with rewards and advantages."""
    first = rows[0]
    names = list(first["rewards"])
    body = [
        [
            shortened(row["completion"]),
            in_words(row, row["choice"]),
            *(_reward(row["rewards"].get(name)) for name in names),
            f"{row['reward']:.4g}",
            f"{row['advantage']:+.2f}",
            f"{row['completion_tokens']:,}",
        ]
        for row in rows[:COMPLETIONS]
    ]
    what = ", all of one reward: nothing is learned from it" if _agrees(rows) else ""
    left_out = len(rows) - len(body)
    headings = ["completion", "choice", *names, "reward", "advantage", "tokens"]
    return "\n".join(
        [
            heading(
                (
                    f"Step {first['step']:,}, ",
                    Foreign(first["id"]),
                    f", a group of {len(rows)}{what}",
                )
            ),
            *pictures.parts(first["images"]),
            question_part(first),
            html_table(Table(columns_of(headings, written=(0,)), body)),
            *([paragraph(f"{left_out:,} more in rollouts.jsonl.", "note")] if left_out else []),
        ]
    )


def _reward(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def question_part(row: RolloutRow) -> str:
    """Return a question with its lettered options, if it has some, and what is right."""
    lines = [row["question"], *lettered_options(row)]
    right = shortened(f"right: {key_in_words(row)}")
    return preformatted("\n".join([*map(shortened, lines), "", right]))


def shortened(text: str) -> str:
    """Return a text, its end replaced by how much is missing where it is very long."""
    rest = len(text) - CHARACTERS
    return text if rest <= 0 else f"{text[:CHARACTERS]} … ({rest:,} more characters)"
