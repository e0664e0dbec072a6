"""The same questions with their options in other orders."""

from collections.abc import Sequence
from math import factorial

from data.examples import VQAExample
from data.options import is_lettered, keeps_order, permute_options
from data.seeded import seeded_permutation

Order = tuple[int, ...]  # shown option i is the row's option order[i]


def option_orders(example: VQAExample, count: int, seed: int) -> list[Order]:
    """Return up to ``count`` different orders of a row's options, its own first.

    A row of k options has no more than k! of them: two options give two whatever the count, and
    options that name each other ("Both A and B") have their own alone, as have those that are not
    lettered. They depend on the seed and the row's id, and a smaller count gives the first of a
    larger one's.

    Raises:
        ValueError: a count below 2, which would compare nothing.
    """
    if count < 2:
        raise ValueError(f"{count} orders of the options compare nothing: ask for at least 2")
    length = len(example.options)
    orders: dict[Order, None] = {tuple(range(length)): None}
    has_one = not is_lettered(example) or keeps_order(example.options)
    most, draw = 1 if has_one else factorial(length), 0
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
    if not any(map(is_lettered, examples)):
        raise ValueError(
            "--permute-options: no row has lettered options (answers are yes or no, texts or"
            " numbers), so there is no order to change: leave the flag out"
        )
    if all(len(some) == 1 for some in orders):
        raise ValueError(
            "--permute-options: in every row with lettered options these name each other (such as"
            " 'Both A and B'), so none has another order: leave the flag out"
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
