"""How sure a policy was of its letters, and whether the likeliest one was right."""

from collections.abc import Iterable, Mapping
from typing import Any


def letter_confidences(rows: Iterable[Mapping[str, Any]]) -> tuple[list[float], list[bool], int]:
    """Return confidence and rightness of each answer, and how many rows have no probabilities.

    The confidence is the probability of the likeliest letter (the first of equals), and an answer
    is right when that letter is.

    Args:
        rows: of predictions.jsonl.

    >>> letter_confidences([{"letter_probabilities": {"A": 0.2, "B": 0.8}, "answer": "B"}, {}])
    ([0.8], [True], 1)
    """
    confidences, correct, left_out = [], [], 0
    for row in rows:
        probabilities = row.get("letter_probabilities")
        if not probabilities:
            left_out += 1
            continue
        letter = max(probabilities, key=probabilities.__getitem__)
        confidences.append(min(1.0, probabilities[letter]))  # rounding may leave 1 + 1e-7
        correct.append(letter == row["answer"])
    return confidences, correct, left_out
