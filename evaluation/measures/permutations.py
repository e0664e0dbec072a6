"""The same questions with their options in other orders: does the answer follow its text?

A model that prefers a letter, or a place, keeps the letter and changes the text.
"""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import NotRequired, TypedDict

from data.options import is_lettered, keeps_order
from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval


class OrderSummary(TypedDict):
    """What other orders of the options change."""

    count: int  # orders asked for; a row of few options has fewer
    kept_order: int  # rows whose options name each other: they have one order and are left out
    not_lettered: NotRequired[int]  # rows without lettered options, where there are any: left out
    n: int  # the other rows
    answers: int  # over all of their orders
    accuracy: float  # mean over rows of the share of orders under which the row is right
    low: float | None  # its 95 % interval by image, None with one image
    high: float | None
    all_right: float  # share of rows right under every order
    any_right: float  # share of rows right under at least one
    # Share of rows that choose two or more different texts; an order under which the strict parser
    # finds no letter chooses none.
    text_changes: float
    no_choice: float  # share of answers in which it finds none


def summarize_permutations(
    predictions: Sequence[Prediction], permuted: Sequence[Prediction], count: int
) -> OrderSummary:
    """Return what the orders of the options change.

    Args:
        predictions: of the rows' own order.
        permuted: of all the other orders, of the same rows.
        count: as asked for.
    """
    lettered = [item for item in predictions if is_lettered(item)]
    answers: dict[str, list[Prediction]] = {item.id: [item] for item in lettered}
    for item in permuted:
        answers[item.id].append(item)
    rows = [row for row in answers.values() if not keeps_order(row[0].options)]
    shares = [sum(item.correct for item in row) / len(row) for row in rows]
    clusters = image_clusters([row[0].images for row in rows])
    low, high = image_interval(shares, clusters, share=True)
    n, num_answers = len(rows), sum(map(len, rows))
    found: OrderSummary = {
        "count": count,
        "kept_order": len(answers) - n,
        "n": n,
        "answers": num_answers,
        "accuracy": sum(shares) / n,
        "low": low,
        "high": high,
        "all_right": sum(share == 1 for share in shares) / n,
        "any_right": sum(share > 0 for share in shares) / n,
        "text_changes": sum(len(_chosen_texts(row)) > 1 for row in rows) / n,
        "no_choice": sum(item.choice is None for row in rows for item in row) / num_answers,
    }
    if num_others := len(predictions) - len(lettered):
        found["not_lettered"] = num_others
    return found


def _chosen_texts(row: Sequence[Prediction]) -> set[str]:
    """Return the texts that a row's answers choose under its orders."""
    return {
        item.options[ascii_uppercase.index(item.choice)] for item in row if item.choice is not None
    }
