"""A row's own image, drawn anew: blurred by so many pixels, or mirrored.

Both are done to the image in the size that the model sees it in, after --image-size and after its
sides became whole visual tokens: a radius means the same for images of any size.

`--controls blur:4,16,64` names several controls at once, each of them one of the evaluation:
`blur:4`, `blur:16`, `blur:64`. A radius is the standard deviation of the Gaussian in pixels. Beyond
an image's own side Pillow, which repeats the border outwards, shows the border's mean.
"""

import re
from collections.abc import Callable, Sequence

from PIL import Image, ImageFilter

Redraw = Callable[[Image.Image], Image.Image]

BLUR = "blur"
BLUR_EXAMPLE = "blur:4,16,64"
_RADIUS = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?")
_LEAST, _MOST = 0.1, 1000.0


def mirrored(image: Image.Image) -> Image.Image:
    """Return the image with left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """Return the image blurred by a Gaussian of so many pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def blur_radius(name: str) -> float | None:
    """Return the radius of a control of one radius, None where the name is none.

    >>> blur_radius("blur:4"), blur_radius("blank")
    (4.0, None)
    """
    kind, _, radius = name.partition(":")
    return float(radius) if kind == BLUR and _RADIUS.fullmatch(radius) else None


def single_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names of controls with one radius each, in the order given.

    >>> single_names(["blank", "blur:4,0.50"])
    ('blank', 'blur:4', 'blur:0.5')

    Raises:
        ValueError: a radius that is no number of pixels, or one that stands twice.
    """
    names = []
    for name in given:
        kind, _, radii = name.partition(":")
        if kind == BLUR:
            names += [f"{BLUR}:{_written(radius, name)}" for radius in radii.split(",")]
        else:
            names.append(name)
    for name in names:
        if name.startswith(f"{BLUR}:") and names.count(name) > 1:
            raise ValueError(f"--controls has the radius of {name} twice: leave one out")
    return tuple(names)


def _written(radius: str, name: str) -> str:
    """Return a radius in its one way of writing."""
    if _RADIUS.fullmatch(radius) and _LEAST <= float(radius) <= _MOST:
        return f"{float(radius)}".removesuffix(".0")
    raise ValueError(
        f"--controls {name}: {radius!r} is no radius from {_LEAST:g} to {_MOST:,.0f} pixels: write"
        f" numbers with commas and no spaces, such as {BLUR_EXAMPLE}"
    )
