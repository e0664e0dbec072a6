"""A small sample that looks like the whole: the rows that ``--limit`` and ``--eval-limit`` keep."""

from collections.abc import Sequence

from data.examples import VQAExample
from data.seeded import seeded_key

_FRACTION = 2**64  # of `seeded_key`, read as a number in [0, 1)


def spread_sample(examples: Sequence[VQAExample], limit: int | None, seed: int) -> list[VQAExample]:
    """Return ``limit`` of the examples, in their order, in proportion to what the whole holds.

    Systematic sampling: the examples are lined up by modality, question type and data set, at
    random within each, and every ``len / limit``-th is taken from a random start. Every modality,
    every question type in it and every data set in that gets its exact share, rounded up or down.
    (The largest remainder would promise this of the smallest groups only: a modality made of many
    small data sets could lose all its rows.)

    Depends on the examples, ``limit`` and ``seed`` alone. All examples where ``limit`` is None or
    not below their number.

    Raises:
        ValueError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a sample of {limit} examples is empty: pass a limit of at least 1")
    if limit is None or limit >= len(examples):
        return list(examples)

    def line_up(index: int) -> tuple[str, str, str, int]:
        example = examples[index]
        key = seeded_key("sample", seed, example.id)
        return example.modality, example.question_type, example.dataset, key

    line = sorted(range(len(examples)), key=line_up)
    start = seeded_key("sample start", seed)
    places = [(i * _FRACTION + start) * len(line) // (limit * _FRACTION) for i in range(limit)]
    return [examples[index] for index in sorted(line[place] for place in places)]
