"""Whose thought is lent to whom: see evaluation/measures/thought_changes.py for what it is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from data.options import same_option
from data.seeded import seeded_key
from evaluation.answers.prediction import Prediction

_OPEN, _CLOSE, _ANSWER = "<think>", "</think>", "<answer>"


@dataclass(frozen=True)
class Donor:
    """A thought that another completion wrote, and what that completion chose."""

    thought: str  # white space included
    choice: str | None  # as a letter of the receiving row; None where it is none of its options


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
        """Return the thought that a row borrows, None where nobody has one for it.

        It comes from an answer that chose another option's text, about another image: of the row's
        modality and question type, else of its question type.
        """
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


def _strata(item: Prediction) -> tuple[tuple[str, ...], ...]:
    return (item.modality, item.question_type), (item.question_type,)


def _contradicts(other: Prediction, row: Prediction) -> bool:
    return set(row.images).isdisjoint(other.images) and (
        same_option(_chosen_text(other)) != same_option(_chosen_text(row))
    )


def _chosen_text(item: Prediction) -> str:
    assert item.choice is not None  # lenders and their receivers are well-formed
    return item.options[ascii_uppercase.index(item.choice)]
