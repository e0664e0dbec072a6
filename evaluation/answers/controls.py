"""Controls: the same questions with another image, so that what the row's own one helped shows.

    blank       the row's own image in the processor's mean colour, of the same size and tokens
    shuffled    another row's image of the same modality
    no_image    no image at all: no visual token in the prompt
    swapped     the image of a row of the same kind whose right answer is another text
    flip        the row's own image, left and right exchanged
    blur:4      the row's own image, blurred by so many pixels; a control of its own for each radius

A row that its control cannot be made for is left out and counted by the reason: it never keeps its
own image. Images are told apart by name (a file's path, a drawing's own name). Which image a row
gets depends on the seed, the row's id and the rows to borrow from alone
(evaluation/answers/borrowed.py).

A new control is one entry of CONTROLS, at the end: the flag, the asking and the tables take it from
there. What is done to the row's own image is in evaluation/answers/redrawn.py.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from data.examples import VQAExample
from evaluation.answers.borrowed import SHUFFLE_WITHIN, Find, Shuffler, Swapper
from evaluation.answers.redrawn import BLUR_EXAMPLE, Redraw, blur_radius, blurred, mirrored


@dataclass(frozen=True)
class Control:
    """A way to ask every question again with another image, or with none."""

    name: str  # as --controls takes it and an answer's `control` says it
    shown: str  # in tables, after "image"
    help: str  # what --help says after the name
    finder: Callable[[Sequence[VQAExample], int, str], Find]  # of donors, seed, shuffle_within
    blanks: bool = False  # the images are blanked after they were encoded as they are
    redraw: Redraw | None = None  # done to each image in the size that the model sees
    has_gain: bool = True  # what is lost under it is what the row's own image adds


@dataclass(frozen=True)
class ControlRows:
    """What one control asks: rows of the evaluation with other images, and why some are missing."""

    name: str
    examples: list[VQAExample]
    impossible: dict[str, int]  # reason -> rows left out


def control_rows(
    name: str,
    examples: Sequence[VQAExample],
    donors: Sequence[VQAExample],
    *,
    seed: int,
    shuffle_within: str = "modality",
) -> ControlRows:
    """Return the examples as a control shows them; ids, questions, options and answers stay.

    Args:
        name: as `control_named` takes it. Where it ``blanks`` or has a ``redraw``, the one who
            asks does that: the rows keep their own images.
        examples: the rows of the evaluation.
        donors: rows whose images may be borrowed, such as the whole file that was sampled.
        seed: of the choice of images.
        shuffle_within: a key of SHUFFLE_WITHIN.

    Raises:
        ValueError: an unknown name, or a control that no row at all can have.
    """
    check_control(name, shuffle_within)
    find = control_named(name).finder(donors, seed, shuffle_within)
    rows, impossible = [], Counter[str]()
    for example in examples:
        found = find(example) if example.images else "the row has no image"
        if isinstance(found, str):
            impossible[found] += 1
        else:
            rows.append(found)
    if not rows:
        reason, _ = impossible.most_common(1)[0]
        raise ValueError(f"control {name} is impossible for every row ({reason}): leave it out")
    return ControlRows(name, rows, dict(impossible))


def control_named(name: str) -> Control:
    """Return the control of a name: one of CONTROLS, or blur with one radius.

    Raises:
        ValueError: there is none.
    """
    radius = blur_radius(name)
    if radius is not None:
        return Control(
            name,
            shown=f"blurred by {name.partition(':')[2]}",
            help="",
            finder=_own_image,
            redraw=partial(blurred, radius=radius),
        )
    if name not in CONTROLS:
        raise ValueError(
            f"unknown control {name!r}: use one of {', '.join(CONTROLS)}, {BLUR_EXAMPLE}"
        )
    return CONTROLS[name]


def has_gain(name: str) -> bool:
    """Return whether a gain is shown over a control, which may be of another version."""
    return name not in CONTROLS or CONTROLS[name].has_gain


def check_control(name: str, shuffle_within: str = "modality") -> None:
    """Raise ValueError for an unknown control, or an unknown stratum to shuffle within."""
    control_named(name)
    if shuffle_within not in SHUFFLE_WITHIN:
        raise ValueError(
            f"unknown stratum {shuffle_within!r} to shuffle within: use one of"
            f" {', '.join(SHUFFLE_WITHIN)}"
        )


def _own_image(_donors: Sequence[VQAExample], _seed: int, _within: str) -> Find:
    return lambda example: example


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            "blank",
            shown="blank",
            help="its mean colour, same size",
            finder=_own_image,
            blanks=True,
        ),
        Control(
            "shuffled",
            shown="shuffled",
            help="another one of the modality",
            finder=lambda donors, seed, within: Shuffler(donors, seed, SHUFFLE_WITHIN[within]),
        ),
        Control(
            "no_image",
            shown="left out",
            help="none",
            finder=lambda _donors, _seed, _within: lambda example: replace(example, images=()),
        ),
        Control(
            "swapped",
            shown="swapped",
            help="one whose right answer is another",
            finder=lambda donors, seed, _within: Swapper(donors, seed),
        ),
        Control(
            "flip",
            shown="mirrored",
            help="its own, left and right exchanged",
            finder=_own_image,
            redraw=mirrored,
            has_gain=False,
        ),
    )
}
