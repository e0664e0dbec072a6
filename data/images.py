"""Images as RGB: whatever Pillow can open, decoded when asked for."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from data.examples import ImageSource, VQAExample

_SHOWN_IMAGES = 5
_MAX_ASPECT_RATIO = 200  # of transformers' Qwen2-VL image processor, which refuses anything longer


def load_image(source: ImageSource, image_size: int) -> Image.Image:
    """Return the image as RGB, upright, ``image_size`` pixels square.

    The square is filled whatever the aspect ratio, as Med-R1 does (arXiv:2503.13939, 384 x 384).
    With size 0 the image keeps its own. Of a file with several frames the first is taken.

    Raises:
        ValueError: a file that is missing, truncated or no image; with size 0 one that is 200 times
            as long as wide, which the model's processor cannot take. The file is named.
    """
    name = source.as_posix() if isinstance(source, Path) else str(source)
    try:
        image = _decode(source)
    except FileNotFoundError as error:
        raise ValueError(f"image {name} does not exist: check --image-root") from error
    except Exception as error:  # every decoder of Pillow raises what it likes for a broken file
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"image {name} cannot be decoded ({reason}): replace the file, or remove its rows"
        ) from error
    if image_size > 0:
        size = (image_size, image_size)
        return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    if max(image.size) >= _MAX_ASPECT_RATIO * min(image.size):
        raise ValueError(
            f"image {name} is {image.width} x {image.height} pixels, {_MAX_ASPECT_RATIO} times as"
            " long as wide or more, which the model's processor refuses: crop it, or make it square"
            " with --image-size"
        )
    return image


def check_images(examples: Iterable[VQAExample]) -> None:
    """Raise ValueError if image files are missing or no images: how many, and the first few.

    Each path is looked at once, and only its header is read: a file that is cut short shows when it
    is decoded.
    """
    paths = _image_files(examples)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        shown = _first_few([f"  - {path.as_posix()}" for path in missing])
        head = (
            f"{len(missing):,} of {len(paths):,} image files are missing: pass the --image-root"
            " under which the data file's paths begin (most often the folder that holds Images/),"
            " or --skip-bad-rows:"
        )
        raise ValueError("\n".join([head, *shown]))
    broken = broken_images(paths)
    if broken:
        shown = _first_few([f"  - {path.as_posix()}: {broken[path]}" for path in broken])
        head = (
            f"{len(broken):,} of {len(paths):,} image files cannot be read: replace them, or leave"
            " their rows out with --skip-bad-rows:"
        )
        raise ValueError("\n".join([head, *shown]))


def broken_images(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the files whose header is no image's, each with the reason."""
    broken = {}
    for path in paths:
        try:
            with Image.open(path):
                pass
        except FileNotFoundError:
            broken[path] = "the file does not exist"
        except Exception as error:  # every format of Pillow raises what it likes
            broken[path] = f"{type(error).__name__}: {error}"
    return broken


def _image_files(examples: Iterable[VQAExample]) -> list[Path]:
    sources = (source for example in examples for source in example.images)
    return list(dict.fromkeys(source for source in sources if isinstance(source, Path)))


def _first_few(lines: list[str]) -> list[str]:
    rest = len(lines) - _SHOWN_IMAGES
    return lines[:_SHOWN_IMAGES] + ([f"  - and {rest:,} more"] if rest > 0 else [])


def rows_without_images(examples: Iterable[VQAExample]) -> dict[str, str]:
    """Return the ids of examples with an image that is missing or broken, each with the reason."""
    examples = list(examples)
    broken = broken_images(_image_files(examples))
    return {
        example.id: f"image {source.as_posix()} cannot be read ({broken[source]})"
        for example in examples
        for source in example.images
        if source in broken
    }


def _decode(source: ImageSource) -> Image.Image:
    if not isinstance(source, Path):
        return to_rgb(source())
    with Image.open(source) as image:
        return to_rgb(ImageOps.exif_transpose(image))


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
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def _stretch(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8)).convert("RGB")
