"""The same questions with their options in other orders: does the answer follow its text?

A model that prefers a letter, or a place, keeps the letter and changes the text.
"""

from collections.abc import Sequence
from math import factorial
from string import ascii_uppercase
from typing import TypedDict

from data.examples import VQAExample
from data.options import keeps_order, permute_options
from data.seeded import seeded_permutation
from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval

Order = tuple[int, ...]  # shown option i is the row's option order[i]


def option_orders(example: VQAExample, count: int, seed: int) -> list[Order]:
    """Return up to ``count`` different orders of a row's options, its own first.

    A row of k options has no more than k! of them: two options give two whatever the count, and
    options that name each other ("Both A and B") have their own alone. They depend on the seed and
    the row's id, and a smaller count gives the first of a larger one's.

    Raises:
        ValueError: a count below 2, which would compare nothing.
    """
    if count < 2:
        raise ValueError(f"{count} orders of the options compare nothing: ask for at least 2")
    length = len(example.options)
    orders: dict[Order, None] = {tuple(range(length)): None}
    most, draw = 1 if keeps_order(example.options) else factorial(length), 0
    while len(orders) < min(count, most):
        orders[tuple(seeded_permutation(length, "orders", seed, example.id, draw))] = None
        draw += 1
    return list(orders)


def permuted_rows(
    examples: Sequence[VQAExample], count: int, seed: int
) -> list[list[tuple[VQAExample, Order]]]:
    """Return, for each order but the rows' own, the permuted rows that have one more.

    Raises:
        ValueError: as `option_orders`; the options of no row have another order.
    """
    orders = [option_orders(example, count, seed) for example in examples]
    if all(len(some) == 1 for some in orders):
        raise ValueError(
            "--permute-options: in every row the options name each other (such as 'Both A and B'),"
            " so none has another order: leave the flag out"
        )
    passes = [
        [
            (permute_options(example, some[number]), some[number])
            for example, some in zip(examples, orders, strict=True)
            if number < len(some)
        ]
        for number in range(1, count)
    ]
    return [rows for rows in passes if rows]


class OrderSummary(TypedDict):
    """What other orders of the options change."""

    count: int  # orders asked for; a row of few options has fewer
    kept_order: int  # rows whose options name each other: they have one order and are left out
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
    answers: dict[str, list[Prediction]] = {item.id: [item] for item in predictions}
    for item in permuted:
        answers[item.id].append(item)
    rows = [row for row in answers.values() if not keeps_order(row[0].options)]
    shares = [sum(item.correct for item in row) / len(row) for row in rows]
    clusters = image_clusters([row[0].images for row in rows])
    low, high = image_interval(shares, clusters, share=True)
    n, num_answers = len(rows), sum(map(len, rows))
    return {
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


def _chosen_texts(row: Sequence[Prediction]) -> set[str]:
    """Return the texts that a row's answers choose under its orders."""
    return {
        item.options[ascii_uppercase.index(item.choice)] for item in row if item.choice is not None
    }
