"""The same question with its options in another order; the answer's letter follows its text."""

import dataclasses
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from data.examples import VQAExample
from data.references import names_options
from data.seeded import seeded_permutation
from rewards.forms import FORMS
from rewards.forms.keyboard import as_typed


def same_option(text: str) -> str:
    """Return what is equal for texts that say the same: no case, spacing or final punctuation.

    Nor do typographic forms of quotes, dashes and wide letters count, nor characters without width.

    >>> same_option(" Basal  cell Carcinoma. ") == same_option("basal cell carcinoma")
    True
    >>> same_option("Crohn\u2019s\u200b disease") == same_option("Crohn's disease")
    True
    >>> same_option("T2+") == same_option("T2"), same_option(".") == same_option("?")
    (False, False)
    """
    folded = " ".join(as_typed(text).casefold().split())
    return folded.rstrip(" .,;:!?") or folded


def is_lettered(row: Any) -> bool:
    """Return whether an example's, or a prediction's, options are shown with letters.

    Only then is there a letter whose probability can be read, and another order of the options.
    """
    return FORMS[row.form].lettered


def keeps_order(options: Sequence[str]) -> bool:
    """Return whether options must stay in their order: one is about others ("Both A and B")."""
    return _naming(options) is not None


def kept_order_note(examples: Sequence[VQAExample]) -> str | None:
    """Return a line that counts the rows whose options stay in their order; None where none is.

    >>> row = VQAExample("CT-3", (), "Which?", ("Cyst", "Mass", "Both A and B"), "C")
    >>> kept_order_note([row, row])
    "2 rows keep the order of options that name each other, the first: CT-3, 'Both A and B'"
    """
    found = [(example.id, _naming(example.options)) for example in examples]
    kept = [(name, text) for name, text in found if text is not None]
    if not kept:
        return None
    (name, text), rows = kept[0], "1 row keeps" if len(kept) == 1 else f"{len(kept):,} rows keep"
    return f"{rows} the order of options that name each other, the first: {name}, {text!r}"


def _naming(options: Sequence[str]) -> str | None:
    """Return the first of a row's options that is about others."""
    return next((text for text in options if names_options(text, len(options))), None)


def permute_options(example: VQAExample, permutation: Sequence[int]) -> VQAExample:
    """Return the example whose option i is the old option ``permutation[i]``.

    Permuting by p, then by q, is permuting once by ``[p[j] for j in q]``.

    Raises:
        ValueError: not a permutation of the options' indices, or one of options that name each
            other, which would make "Both A and B" stand for two other texts, or that are not
            lettered.
    """
    if not is_lettered(example):
        raise ValueError(f"{example.id}: a question of form {example.form} has no order of options")
    if sorted(permutation) != list(range(len(example.options))):
        raise ValueError(
            f"{example.id}: {list(permutation)} does not reorder {len(example.options)} options:"
            f" pass each of 0 to {len(example.options) - 1} once"
        )
    if list(permutation) != sorted(permutation) and keeps_order(example.options):
        raise ValueError(
            f"{example.id}: its options name each other, so they have one order only:"
            f" {list(example.options)}"
        )
    options = tuple(example.options[index] for index in permutation)
    place = list(permutation).index(ascii_uppercase.index(example.answer))
    return dataclasses.replace(example, options=options, answer=ascii_uppercase[place])


def shuffle_options(example: VQAExample, seed: int, epoch: int) -> VQAExample:
    """Return the example with its options in an order drawn from (seed, epoch, example's id).

    A row whose options name each other, or are not lettered, is returned as it is.
    """
    if not is_lettered(example) or keeps_order(example.options):
        return example
    permutation = seeded_permutation(len(example.options), "options", seed, epoch, example.id)
    return permute_options(example, permutation)
