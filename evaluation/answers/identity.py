"""Which evaluation is this: the facts that decide its answers, and how two lists of them differ.

Answers of two kinds in one file, or numbers of two kinds in one table, would mislead. So whoever
goes on from answers that are there, or uses them again, compares these facts first:

    ScoreIdentity       an evaluation at work       evaluation.json in DIR.unfinished
    CellIdentity        a matrix's cell at work     evaluation.json in CELL.unfinished
    Identity            a finished cell             summary.json's `evaluation`
    CurationIdentity    a curation                  settings.json

A new fact is one line here: in `Identity` where it decides the numbers of every evaluation, with
its place in summary.json; below it where it decides only how answers that are begun go on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Self

from process.ranks import world

LEFT_OUT = "list of rows left out"


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same there and now; as text `another --seed (0 there, 1 now)`."""

    name: str
    there: Any
    now: Any

    def __str__(self) -> str:
        return f"another {self.name} ({_shown(self.there)} there, {_shown(self.now)} now)"


def first_difference(there: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """Return the first fact that differs, in the order of ``now``; one that is missing is None.

    >>> print(first_difference({"mode": "think", "--seed": 0}, {"mode": "think", "--seed": 1}))
    another --seed (0 there, 1 now)
    >>> first_difference({"mode": "think"}, {"mode": "think", "--limit": None}) is None
    True
    """
    for name in [*now, *(name for name in there if name not in now)]:
        if there.get(name) != now.get(name):
            return Difference(name, there.get(name), now.get(name))
    return None


def _fact(words: str, *place: str, stored: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return a field for a fact.

    Args:
        words: what a message calls it; its key in the file of what is not finished.
        place: the keys that lead to it in summary.json's `evaluation`; none where it is not there.
        stored: its value as JSON holds it, from the record's or from summary.json's.
    """
    return field(metadata={"words": words, "place": place, "stored": stored})


def _contents(checksums: Mapping[str, str] | None) -> list[str]:
    return sorted((checksums or {}).values())  # files may lie elsewhere, under other names


def _names(controls: Sequence[str] | None) -> list[str]:
    return list(controls or ())


def _conditions(only: Sequence[str] | None) -> list[str] | None:
    return sorted(only) if only else None  # as where work began before there was this flag


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What decides the numbers of a finished evaluation.

    The machine does not: it moves answers by rounding, and a matrix may go on elsewhere.
    """

    mode: str = _fact("mode", "mode")
    image_size: int = _fact("image_size", "image_size")
    max_completion_tokens: int = _fact("max_completion_tokens", "max_completion_tokens")
    limit: int | None = _fact("--limit", "data", "limit")
    seed: int = _fact("--seed", "data", "seed")
    only: Sequence[str] = _fact("--only", "data", "only", stored=_conditions)
    skipped_rows: int = _fact("number of skipped rows", "data", "skipped_rows")
    controls: Sequence[str] = _fact("list of controls", "controls", stored=_names)
    prompt_template: str = _fact("prompt template", "prompt_template")
    checksums: Mapping[str, str] = _fact(
        "checksum of the test file", "data", "checksums", stored=_contents
    )
    model_checksum: str = _fact("checksum of the model", "model_checksum")

    @classmethod
    def of(cls, *records: object, **facts: Any) -> Self:
        """Return the identity that follows from records, and from ``facts`` by their names.

        Args:
            records: each has some facts of every evaluation among its attributes, under the same
                names, such as the settings of the asking and a test set.
            facts: all others.
        """
        names = [item.name for item in fields(Identity)]
        of_records = {
            name: getattr(record, name)
            for record in records
            for name in names
            if hasattr(record, name)
        }
        return cls(**of_records, **facts)

    def to_json(self) -> dict[str, Any]:
        """The facts by the words that a message calls them, as a JSON file gives them back."""
        facts = {_words(item): _stored(item, getattr(self, item.name)) for item in fields(self)}
        return json.loads(json.dumps(facts))  # tuples become lists

    def difference(self, there: Mapping[str, Any]) -> Difference | None:
        """Return the first fact that differs from what `to_json` gave for another evaluation."""
        return first_difference(there, self.to_json())

    def difference_from_finished(self, evaluation: Mapping[str, Any]) -> Difference | None:
        """Return the first fact that differs from a summary.json's `evaluation`."""
        placed = [item for item in fields(self) if item.metadata["place"]]
        there = {_words(item): _stored(item, _found(evaluation, item)) for item in placed}
        now = self.to_json()
        return first_difference(there, {name: now[name] for name in there})


@dataclass(frozen=True, kw_only=True)
class CellIdentity(Identity):
    """What decides the answers of a matrix's cell that is at work."""

    with_letters: bool = _fact("letter probabilities")


@dataclass(frozen=True, kw_only=True)
class ScoreIdentity(Identity):
    """What decides the answers of an evaluation that is at work."""

    left_out: Mapping[str, Sequence[int]] = _fact(LEFT_OUT)  # checksum of a file -> its rows
    dtype: str = _fact("--dtype")
    image_root: str | None = _fact("--image-root")
    shuffle_within: str | None = _fact("--shuffle-within")
    permute_options: int | None = _fact("--permute-options")


@dataclass(frozen=True, kw_only=True)
class CurationIdentity(Identity):
    """What decides the samples of a curation."""

    checksums: Mapping[str, str] = _fact("checksum of the data", stored=_contents)
    left_out: Mapping[str, Sequence[int]] = _fact(LEFT_OUT)  # checksum of a file -> its rows
    samples: int = _fact("--samples")
    image_root: str | None = _fact("--image-root")
    dtype: str = _fact("--dtype")


def check_agreed(identity: Identity) -> None:
    """Raise a ValueError where processes that work together are about to do different work."""
    for rank, there in enumerate(world().gather(identity.to_json())):
        if difference := identity.difference(there):
            raise ValueError(
                f"rank {rank} has {difference}: all processes must find the same files, and the"
                " same in them"
            )


def _words(item: Field) -> str:
    return item.metadata["words"]


def _stored(item: Field, value: Any) -> Any:
    return item.metadata["stored"](value)


def _found(evaluation: Mapping[str, Any], item: Field) -> Any:
    value: Any = evaluation
    for key in item.metadata["place"]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]} .."
