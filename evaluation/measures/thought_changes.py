"""Does the answer depend on the thought? Which thought stands before the letter, and what changes.

Each well-formed answer of a think evaluation is read again, teacher-forced: the text up to
``<answer>``, then the probabilities of the options' letters (evaluation/asking/letters.py), under

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

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from string import ascii_uppercase
from typing import Any, NotRequired, TypedDict

from data.options import same_option
from data.seeded import seeded_key
from evaluation.answers.prediction import Prediction, is_measured
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.summary import accuracy_of
from rewards.modes import get_mode

THOUGHT_CHANGES = ("removed", "swapped", "borrowed")

_OPEN, _CLOSE, _ANSWER = "<think>", "</think>", "<answer>"


@dataclass(frozen=True)
class Donor:
    """A thought that another completion wrote, and what that completion chose."""

    thought: str  # white space included
    choice: str | None  # as a letter of the receiving row; None where it is none of its options


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


def thought_of(completion: str) -> str:
    """Return what a well-formed think completion holds between its tags, as it stands."""
    return completion.partition(_OPEN)[2].partition(_CLOSE)[0]


def with_thought(completion: str, thought: str) -> str:
    """Return a well-formed think completion up to ``<answer>``, with another thought in it.

    >>> with_thought("<think> a ring </think> <answer>B</answer>", "")
    '<think></think> <answer>'
    """
    before, _, rest = completion.partition(_OPEN)
    between = rest.partition(_CLOSE)[2].partition(_ANSWER)[0]
    return f"{before}{_OPEN}{thought}{_CLOSE}{between}{_ANSWER}"


def group_donor(prediction: Prediction, group: Sequence[Prediction]) -> Donor | None:
    """Return the thought of the first well-formed completion of a group that chose otherwise.

    Args:
        prediction: the row.
        group: other completions of its question, options in the same order.
    """
    found = (item for item in group if item.well_formed and item.choice != prediction.choice)
    other = next(found, None)
    return None if other is None else Donor(thought_of(other.completion), other.choice)


class Lenders:
    """Answers of one evaluation as lenders of thoughts to one another."""

    def __init__(self, predictions: Sequence[Prediction], seed: int) -> None:
        """Take the well-formed answers; ``seed`` chooses among those that fit."""
        self._strata: dict[tuple[str, ...], list[Prediction]] = {}
        ordered = sorted(predictions, key=lambda item: seeded_key("borrowed", seed, item.id))
        for item in ordered:
            for stratum in _strata(item):
                self._strata.setdefault(stratum, []).append(item)
        self._seed = seed

    def donor(self, prediction: Prediction) -> Donor | None:
        """Return a thought for this row as the module's head says; None where nobody has one."""
        for stratum in _strata(prediction):
            pool = self._strata.get(stratum, [])
            start = seeded_key("start", self._seed, prediction.id) % max(len(pool), 1)
            for other in pool[start:] + pool[:start]:
                if _contradicts(other, prediction):
                    texts = [same_option(text) for text in prediction.options]
                    chosen = same_option(_chosen_text(other))
                    place = texts.index(chosen) if chosen in texts else None
                    letter = None if place is None else ascii_uppercase[place]
                    return Donor(thought_of(other.completion), letter)
        return None


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
                [len(row.letters["own"]) for row in rows],
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


def _strata(item: Prediction) -> tuple[tuple[str, ...], ...]:
    return (item.modality, item.question_type), (item.question_type,)


def _contradicts(other: Prediction, row: Prediction) -> bool:
    return set(row.images).isdisjoint(other.images) and (
        same_option(_chosen_text(other)) != same_option(_chosen_text(row))
    )


def _chosen_text(item: Prediction) -> str:
    assert item.choice is not None  # lenders and their receivers are well-formed
    return item.options[ascii_uppercase.index(item.choice)]
