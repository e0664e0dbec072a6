"""The groups of completions that a run's report shows: some of the first step, some of the last.

What the page takes from them is bounded whatever the run: GROUPS per step, COMPLETIONS of each,
CHARACTERS of each text, IMAGES per question, each image at most PIXELS long and wide.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from data.images import load_image
from evaluation.report.run_files import read_lines
from process.tables.document import heading, image, paragraph, preformatted
from process.tables.html import html_table
from process.tables.value import Table, columns_of

GROUPS = 3
COMPLETIONS = 16
CHARACTERS = 2000
IMAGES = 4
PIXELS = 320

RolloutRow = Mapping[str, Any]


def rollout_parts(directory: Path) -> list[str]:
    """Return the HTML of the groups to look at; nothing without rollouts.jsonl."""
    return [_group(rows) for step in edge_steps(directory) for rows in telling_groups(step)]


def edge_steps(directory: Path) -> list[list[RolloutRow]]:
    """Return the rows of the first and of the last step in rollouts.jsonl.

    Memory holds two steps at a time.
    """
    first: list[RolloutRow] = []
    newest: list[RolloutRow] = []
    for row in read_lines(directory / "rollouts.jsonl"):
        if newest and row["step"] != newest[0]["step"]:
            first, newest = first or newest, []
        newest.append(row)
    return [rows for rows in (first, newest) if rows]


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


def _group(rows: Sequence[RolloutRow]) -> str:
    """Return a group: its images, its question, its completions with rewards and advantages."""
    first = rows[0]
    names = list(first["rewards"])
    body = [
        [
            shortened(row["completion"]),
            row["choice"],
            *(f"{row['rewards'][name]:.4g}" for name in names),
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
            heading(f"Step {first['step']:,}, {first['id']}, a group of {len(rows)}{what}"),
            *image_parts(first["images"]),
            question_part(first),
            html_table(Table(columns_of(headings, written=(0,)), body)),
            *([paragraph(f"{left_out:,} more in rollouts.jsonl.", "note")] if left_out else []),
        ]
    )


def question_part(row: RolloutRow) -> str:
    """Return a question with its options and the right letter."""
    options = zip(ascii_uppercase, row["options"], strict=False)
    lines = [row["question"], *(f"{letter}) {text}" for letter, text in options)]
    return preformatted("\n".join([*map(shortened, lines), "", f"right: {row['answer']}"]))


def image_parts(names: Sequence[str]) -> list[str]:
    """Return a row's images, small, inside the page; a reason for each that cannot be shown."""
    parts = []
    for name in names[:IMAGES]:
        try:
            parts.append(image(thumbnail(name), f"image {name}"))
        except ValueError as error:
            parts.append(paragraph(f"An image is not shown: {error}", "note"))
    if len(names) > IMAGES:
        parts.append(paragraph(f"{len(names) - IMAGES} more images.", "note"))
    return parts


def thumbnail(name: str) -> bytes:
    """Return an image that a log names as JPEG, at most PIXELS long and wide.

    Args:
        name: a file's path, or a phantom's own name, which is drawn again.

    Raises:
        ValueError: there is no such file or phantom, or it is no image.
    """
    picture = load_image(_phantom(name) or Path(name), image_size=0)
    picture.thumbnail((PIXELS, PIXELS))
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def shortened(text: str) -> str:
    """Return a text, its end replaced by how much is missing where it is very long."""
    rest = len(text) - CHARACTERS
    return text if rest <= 0 else f"{text[:CHARACTERS]} … ({rest:,} more characters)"


def _phantom(name: str) -> Any:
    """Return what draws a phantom of this name, or None."""
    folder, _, rest = name.partition("/")
    part, _, file = rest.partition("/")
    if folder != "phantoms":
        return None
    from data.phantoms import phantom_examples  # draws with numpy: only where phantoms are shown

    try:
        examples = phantom_examples(part, file.rpartition("-")[0])
    except ValueError:
        return None
    sources = (source for example in examples for source in example.images)
    return next((source for source in sources if str(source) == name), None)
