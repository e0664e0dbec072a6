"""Does the answer depend on the thought? Which thought stands before the letter, and what changes.

Each well-formed answer of a think evaluation is read again, teacher-forced: the text up to
``<answer>``, then the probabilities of the options' letters after it, as
evaluation/asking/option_letters.py reads them, under

    own        the completion's own thought: what the others are compared with
    removed    nothing between <think> and </think>, all else as the completion wrote it
    swapped    within the group: of completions sampled for the same question (temperature 1), the
               first one that chose another letter lends its thought
    borrowed   the thought of another question's answer that chose another option's text, about
               another image: of the same modality and question type, else of the question type

A letter is the likeliest one. If thoughts carry the answer, swapping changes it, mostly to what the
lent thought's completion chose ("followed"); a thought that only decorates can be exchanged.

Greedy answers have no group of their own, so `swapped` samples one. Where all of it agrees there is
no thought to swap in: such rows are left out and counted, so the rows that remain are the unsure
ones. Each change is therefore compared with the own thought on its own rows.

In think_after the letter is written before the thought and cannot depend on it; in no_think there
is no thought: not applicable, and said so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NotRequired, TypedDict

from evaluation.answers.prediction import is_measured
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.summary import accuracy_of
from rewards.modes import get_mode

THOUGHT_CHANGES = ("removed", "swapped", "borrowed")


@dataclass(frozen=True)
class ThoughtRow:
    """One answer under its own thought and under others: a line of thoughts.jsonl."""

    id: str
    images: tuple[str, ...]
    answer: str
    choice: str  # as it was written
    letters: dict[str, dict[str, float]]  # "own" or a change -> letter -> probability
    donors: dict[str, str | None]  # change -> the donor's choice among this row's letters
    thoughts: dict[str, str]  # change -> the donor's thought
    # "own" or a change -> probability that one of the letters is written there at all
    masses: dict[str, float] = field(default_factory=dict)

    def measured(self, name: str) -> bool:
        """Whether letters are written often enough under "own" or a change to be read."""
        return is_measured(self.masses.get(name))

    def letter(self, name: str) -> str:
        """The likeliest letter under "own" or a change, the first of equal ones."""
        return max(self.letters[name], key=self.letters[name].__getitem__)

    def to_json(self) -> dict[str, Any]:
        """The line of thoughts.jsonl as a dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "ThoughtRow":
        """Return the row of a line."""
        return cls(**{**line, "images": tuple(line["images"])})


def check_changes(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none of THOUGHT_CHANGES."""
    for name in names:
        if name not in THOUGHT_CHANGES:
            known = ", ".join(THOUGHT_CHANGES)
            raise ValueError(f"unknown change of thoughts {name!r}: use one of {known}")


def not_applicable(mode: str) -> str | None:
    """Return why thoughts cannot be changed in a mode, or None where they can.

    >>> not_applicable("think_after")
    'think_after writes its letter before its thought: the answer cannot depend on it'
    """
    if get_mode(mode).letter_follows_thought:
        return None
    if not get_mode(mode).thinks:
        return f"{mode} writes no thought"
    return f"{mode} writes its letter before its thought: the answer cannot depend on it"


class ThoughtChange(TypedDict):
    """What one change of the thought does to the letters; the rest is there where n is not 0."""

    n: int  # rows that are measured
    without_donor: int  # rows that have no thought to take
    little_mass: int  # rows with hardly any letter after the changed thought
    accuracy: NotRequired[float]
    own_accuracy: NotRequired[float]
    gain: NotRequired[float]  # own minus changed
    low: NotRequired[float | None]  # its 95 % interval by image
    high: NotRequired[float | None]
    images: NotRequired[int]
    changed: NotRequired[float]  # share whose letter is another than under the own thought
    # Share whose letter is what the donor chose, over the rows that offer it; None without such.
    followed: NotRequired[float | None]


def summarize_changes(
    rows: Sequence[ThoughtRow], changes: Sequence[str], left_out: int
) -> dict[str, Any]:
    """Return what each change of the thought does to the letters.

        n           rows read again: the well-formed ones
        left_out    rows that are not
        little_mass of the n, left out of all below: after their own thought hardly any letter is
                    written (evaluation.answers.prediction.LEAST_MASS)
        own         `accuracy_of` of the own thought's letters, and ``agrees``: share in which
                    the likeliest letter is the one that was written
        changes     name -> `ThoughtChange`

    Args:
        rows: as `evaluation.asking.thoughts.read_thoughts` returns them.
        changes: names of THOUGHT_CHANGES that were asked for.
        left_out: number of answers that are not well-formed.
    """
    result: dict[str, Any] = {"n": len(rows), "left_out": left_out, "own": None}
    rows = [row for row in rows if row.measured("own")]
    result["little_mass"] = result["n"] - len(rows)
    if rows:
        result["own"] = {
            **accuracy_of(
                [row.letter("own") == row.answer for row in rows],
                [1 / len(row.letters["own"]) for row in rows],
                [row.images for row in rows],
            ),
            "agrees": sum(row.letter("own") == row.choice for row in rows) / len(rows),
        }
    result["changes"] = {name: _change(rows, name) for name in changes}
    return result


def _change(all_rows: Sequence[ThoughtRow], name: str) -> ThoughtChange:
    lent = [row for row in all_rows if name in row.letters]
    rows = [row for row in lent if row.measured(name)]
    counts: ThoughtChange = {
        "n": len(rows),
        "without_donor": len(all_rows) - len(lent),
        "little_mass": len(lent) - len(rows),
    }
    if not rows:
        return counts
    own = [row.letter("own") == row.answer for row in rows]
    now = [row.letter(name) == row.answer for row in rows]
    differences = [int(one) - int(other) for one, other in zip(own, now, strict=True)]
    clusters = image_clusters([row.images for row in rows])
    low, high = image_interval(differences, clusters, share=False)
    offered = [row for row in rows if row.donors.get(name) is not None]
    followed = [row.letter(name) == row.donors[name] for row in offered]
    return {
        **counts,
        "accuracy": sum(now) / len(rows),
        "own_accuracy": sum(own) / len(rows),
        "gain": sum(differences) / len(rows),
        "low": low,
        "high": high,
        "images": len(set(clusters)),
        "changed": sum(row.letter(name) != row.letter("own") for row in rows) / len(rows),
        "followed": sum(followed) / len(followed) if followed else None,
    }
