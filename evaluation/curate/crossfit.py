"""What a text prior makes of train rows without having seen them: cross-fitted by image.

A prior that is asked about the rows it was fitted on remembers them. So the rows are cut into
folds, rows with an image in common in one fold, and each fold is answered by a prior fitted on the
others.
"""

from collections.abc import Sequence

from data.examples import VQAExample
from data.grouping import components, row_keys
from data.priors import PRIORS
from data.seeded import seeded_key

FOLDS = 5


def check_prior(name: str) -> None:
    """Raise ValueError for a name that is no prior's."""
    if name not in PRIORS:
        raise ValueError(f"--prior {name!r}: use one of {', '.join(map(repr, PRIORS))}")


def image_folds(examples: Sequence[VQAExample], seed: int, folds: int = FOLDS) -> list[int]:
    """Return each row's fold; none is empty where there are as many groups of images.

    Groups are dealt out in a seeded order, so a fold holds an equal number of groups, up to one.
    """
    groups = components([row_keys(example) for example in examples])
    groups.sort(key=lambda rows: seeded_key("fold", seed, examples[rows[0]].id))
    fold_of = [0] * len(examples)
    for number, rows in enumerate(groups):
        for row in rows:
            fold_of[row] = number % folds
    return fold_of


def crossfit(examples: Sequence[VQAExample], prior: str, seed: int) -> list[str | None] | None:
    """Return what a prior answers to each row, fitted on rows of other images.

    Of a row that it has no answer to (`TextPrior.choose`) it is None. None instead of a list where
    all rows share one image: nothing is left to fit on.
    """
    fold_of = image_folds(examples, seed)
    if len(set(fold_of)) < 2:
        return None
    letters: list[str | None] = [None] * len(examples)
    for fold in sorted(set(fold_of)):
        inside = [row for row, number in enumerate(fold_of) if number == fold]
        outside = [item for item, number in zip(examples, fold_of, strict=True) if number != fold]
        fitted = PRIORS[prior]().fit(outside)
        for row, letter in zip(
            inside, fitted.choose_all([examples[row] for row in inside]), strict=True
        ):
            letters[row] = letter
    return letters
