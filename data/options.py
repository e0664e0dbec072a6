"""The same question with its options in another order; the answer's letter follows its text."""

import dataclasses
from collections.abc import Sequence
from string import ascii_uppercase

from data.examples import VQAExample
from data.seeded import seeded_permutation


def permute_options(example: VQAExample, permutation: Sequence[int]) -> VQAExample:
    """Return the example whose option i is the old option ``permutation[i]``.

    Permuting by p, then by q, is permuting once by ``[p[j] for j in q]``.

    Raises:
        ValueError: not a permutation of the options' indices.
    """
    if sorted(permutation) != list(range(len(example.options))):
        raise ValueError(
            f"{example.id}: {list(permutation)} does not reorder {len(example.options)} options:"
            f" pass each of 0 to {len(example.options) - 1} once"
        )
    options = tuple(example.options[index] for index in permutation)
    place = list(permutation).index(ascii_uppercase.index(example.answer))
    return dataclasses.replace(example, options=options, answer=ascii_uppercase[place])


def shuffle_options(example: VQAExample, seed: int, epoch: int) -> VQAExample:
    """Return the example with its options in an order drawn from (seed, epoch, example's id)."""
    permutation = seeded_permutation(len(example.options), "options", seed, epoch, example.id)
    return permute_options(example, permutation)
