"""Images as RGB: files of the formats that data sets have, decoded when asked for."""

from contextlib import AbstractContextManager
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from data.examples import ImageSource, StoredImage, VQAExample, image_name
from data.held_images import HeldImage
from data.image_bounds import ImageRefusalError, opened_image
from process.memory import MemoryRanOutError
from process.regular import open_regular

Box = tuple[int, int, int, int]  # left, upper, right, lower

MISSING = "does not exist"
_BAND = 1 << 20  # pixels
_MAX_ASPECT_RATIO = 200  # of transformers' Qwen2-VL image processor, which refuses anything longer


def open_images(example: VQAExample, image_size: int = 0) -> list[Image.Image]:
    """Return an example's images, decoded, for whoever wants to look at them: a user's reward.

    Args:
        example: the row; without images the list is empty.
        image_size: pixels a side of the square that each is made; 0 leaves them as they are.

    Raises:
        ValueError: one cannot be read; the example and the image are named.
    """
    try:
        return [load_image(source, image_size) for source in example.images]
    except ValueError as error:
        raise ValueError(f"example {example.id}: {error}") from error


def load_image(source: ImageSource, image_size: int) -> Image.Image:
    """Return the image as RGB, upright, ``image_size`` pixels square.

    The square is filled whatever the aspect ratio, as Med-R1 does (arXiv:2503.13939, 384 x 384).
    With size 0 the image keeps its own. Of a file with several frames the first is taken.

    Raises:
        ValueError: a file that is missing, truncated, too large or no image; with size 0 one that
            is 200 times as long as wide, which the model's processor cannot take. It is named.
        MemoryRanOutError: the memory does not hold it.
    """
    name = image_name(source)
    try:
        image = decode(source)
    except FileNotFoundError as error:
        raise ValueError(f"image {name} {MISSING}: check --image-root") from error
    except MemoryRanOutError:
        raise
    except ImageRefusalError as error:
        raise ValueError(f"image {name} {error}") from error
    except Exception as error:  # every decoder of Pillow raises what it likes for a broken file
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"image {name} cannot be decoded ({reason}): replace the file, or leave it out"
        ) from error
    if image_size > 0:
        size = (image_size, image_size)
        return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    refusal = too_long(image.size)
    if refusal is not None:
        raise ValueError(f"image {name} {refusal}")
    return image


def too_long(size: tuple[int, int]) -> str | None:
    """Return why the model's processor refuses an image of this size as it is, or None."""
    if max(size) < _MAX_ASPECT_RATIO * min(size):
        return None
    return (
        f"is {size[0]} x {size[1]} pixels, {_MAX_ASPECT_RATIO} times as long as wide or more, which"
        " the model's processor refuses: crop it, or make it square with --image-size"
    )


def decode(source: ImageSource) -> Image.Image:
    """Return the image as RGB, upright, in its own size; raises whatever its decoder raises.

    Raises:
        ImageRefusalError: its header says that it must not be decoded (data/image_bounds.py).
        MemoryRanOutError: the memory does not hold it.
    """
    if not isinstance(source, StoredImage):
        return to_rgb(source())
    try:
        with open_stored(source) as stream, opened_image(stream) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image)
    except MemoryError as error:
        raise MemoryRanOutError(
            f"the memory ran out while image {image_name(source)} was decoded, and the file may be"
            " whole: free memory, or give this process more"
        ) from error


def open_stored(source: StoredImage) -> AbstractContextManager[BinaryIO]:
    """Return an image's bytes as an open file: those of a file, or of a data file's row."""
    return source.stream() if isinstance(source, HeldImage) else open_regular(source)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return any Pillow image as RGB that shows what a person would see.

    Pillow's own ``convert("RGB")`` clips 16 bits to 8, so that most of a radiograph turns white,
    and drops alpha, so that colours hidden under transparent pixels come out. Here more than 8 bits
    are stretched between the image's least and greatest value (a full-range scale would leave the
    usual 12 bits in 16 nearly black), and alpha is laid over black, "no signal" in most modalities.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _stretch(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return _over_black(image)
    return image.convert("RGB")


def _over_black(image: Image.Image) -> Image.Image:
    shown = Image.new("RGB", image.size)
    for box in _bands(image.size):
        band = image.crop(box).convert("RGBA")
        black = Image.new("RGBA", band.size, (0, 0, 0, 255))
        shown.paste(Image.alpha_composite(black, band).convert("RGB"), box)
    return shown


def _stretch(image: Image.Image) -> Image.Image:
    bands = _bands(image.size)
    ends = [(values.min(), values.max()) for box in bands for values in [_finite(image, box)]]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    scale = 255 / (high - low) if high > low else 0.0
    shown = Image.new("L", image.size)
    for box in bands:
        values = (_finite(image, box) - low) * scale
        shown.paste(Image.fromarray(np.rint(values).astype(np.uint8)), box)
    return shown.convert("RGB")


def _finite(image: Image.Image, box: Box) -> np.ndarray:
    """Return a part of an image as float64, NaN and inf as 0."""
    values = np.asarray(image if box == (0, 0, *image.size) else image.crop(box))
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


def _bands(size: tuple[int, int]) -> list[Box]:
    """Return boxes, one below the other: what is worked out at one time stays small."""
    width, height = size
    rows = max(1, _BAND // max(1, width))
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
