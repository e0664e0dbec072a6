"""Text priors fitted on the train rows that an evaluation names; no image is opened."""

from collections.abc import Sequence
from pathlib import Path

from data.examples import VQAExample
from data.named import is_phantoms, named_files
from data.reading.only import Only
from data.reading.readers import read_examples
from data.sources import load_split
from evaluation.measures.priors import FittedPriors


def fit_priors(
    names: Sequence[str],
    image_root: str | None,
    *,
    skip_bad_rows: bool = False,
    only: Sequence[str] = (),
) -> FittedPriors | None:
    """Return every prior of data.priors, fitted; None where no file is named.

    Args:
        names: train files, folders of them, or ``phantoms``: their training part. No image is
            opened.
        image_root: as for the questions; it only becomes part of the rows' image paths.
        skip_bad_rows: leave out rows that are wrong.
        only: FIELD=VALUE, which rows are read.

    Raises:
        ValueError: a file that cannot be read, or no rows.
    """
    if not names:
        return None
    rows: list[VQAExample] = []
    for name in (file.name for file in named_files(names)):
        if is_phantoms(name):
            rows += load_split([name], part="train", image_root=None, only=only).examples
        else:
            found, _ = read_examples(
                name,
                Path(image_root or "."),
                skip_bad_rows=skip_bad_rows,
                only=Only(only, "train"),
            )
            rows += found
    return FittedPriors.on(rows)


def check_not_asked(fitted: FittedPriors | None, examples: Sequence[VQAExample]) -> None:
    """Raise ValueError where priors were fitted on every question that they are about to be asked.

    Where it is some of them, `evaluation.measures.priors` counts them.
    """
    if fitted is not None and all(map(fitted.knows, examples)):
        raise ValueError(
            f"--text-prior is fitted on all of the {len(examples):,} questions that are asked, so"
            " it knows their answers: name the train file, or leave the flag away"
        )
