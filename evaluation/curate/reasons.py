"""Why a row may not be worth its rollouts: from counts to reasons, no model.

    always_right   all of its samples were right: its groups would agree, advantages are 0
    always_wrong   none was: its groups would agree on the accuracy reward; where some completions
                   are well formed and others are not they still teach the form
    blind          with the image blank, too, most samples are right: it teaches guessing; a row
                   without an image never is
    prior          a text prior, fitted on rows of other images, has it right without an image

A sample is right when the training's accuracy reward says so: well-formed, and the right letter.
Counts are of k samples: a row that passes 1 time in 20 is "always wrong" in 66 % of counts of 8.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.examples import VQAExample
from evaluation.curate.pass_counts import Passes
from rewards.forms import is_right

REASONS = ("always_right", "always_wrong", "blind", "prior")
DEFAULT_DROP = ("always_right", "always_wrong", "blind")


@dataclass(frozen=True)
class CuratedRow:
    """What is said of one row: a line of curate.jsonl."""

    id: str
    modality: str
    question_type: str
    samples: int
    passes: int
    blank_passes: int | None  # None: the row has no image to leave blank
    answer: str
    prior_choice: str | None  # None: the prior has no answer to such questions
    prior_right: bool
    kept: bool
    reasons: tuple[str, ...]  # all that apply, whether they drop the row or not

    def to_json(self) -> dict[str, Any]:
        """The line of curate.jsonl as a dictionary."""
        return asdict(self)


def check_choosing(drop: Sequence[str], blind_share: float) -> None:
    """Raise ValueError for an unknown reason, or a share outside (0, 1]."""
    for name in drop:
        if name not in REASONS:
            raise ValueError(f"--drop {name}: use some of {', '.join(REASONS)}, or none")
    if not 0 < blind_share <= 1:
        raise ValueError(f"--blind-share {blind_share} must lie above 0 and be at most 1")


def reasons_of(
    passes: int, blank_passes: int | None, prior_right: bool, *, samples: int, blind_share: float
) -> tuple[str, ...]:
    """Return all reasons that apply to a row.

    >>> reasons_of(8, 6, True, samples=8, blind_share=0.75)
    ('always_right', 'blind', 'prior')
    >>> reasons_of(3, 5, False, samples=8, blind_share=0.75)
    ()
    """
    applies = {
        "always_right": passes == samples,
        "always_wrong": passes == 0,
        "blind": blank_passes is not None and blank_passes >= blind_share * samples,
        "prior": prior_right,
    }
    return tuple(name for name in REASONS if applies[name])


def judge_row(
    example: VQAExample,
    counts: Passes,
    prior_choice: str | None,
    *,
    samples: int,
    drop: Sequence[str],
    blind_share: float,
) -> CuratedRow:
    """Return what is said of one row; it is kept unless a reason in ``drop`` applies."""
    prior_right = is_right(prior_choice, example)
    reasons = reasons_of(
        counts.passes, counts.blank_passes, prior_right, samples=samples, blind_share=blind_share
    )
    return CuratedRow(
        id=example.id,
        modality=example.modality,
        question_type=example.question_type,
        samples=samples,
        passes=counts.passes,
        blank_passes=counts.blank_passes,
        answer=example.answer,
        prior_choice=prior_choice,
        prior_right=prior_right,
        kept=not set(reasons) & set(drop),
        reasons=reasons,
    )


def zero_spread(passes: Sequence[int], samples: int, group_size: int) -> float:
    """Return the expected share of groups whose accuracy rewards all agree.

        mean of p^G + (1 - p)^G,   p = passes / samples of a row

    p is estimated, and p^G + (1 - p)^G is convex in it, so this is an upper estimate: the fewer the
    samples the higher.

    >>> zero_spread([0, 4, 8], samples=8, group_size=2)
    0.8333333333333334
    """
    shares = [count / samples for count in passes]
    return sum(p**group_size + (1 - p) ** group_size for p in shares) / len(shares)
