"""A checkpoint's image processor: which file sets it, and how large the model sees an image.

Each side becomes a multiple of patch_size * merge_size, 28 pixels: a visual token is one such
square. An image of its own size is brought between the checkpoint's min_pixels and max_pixels as
well, as transformers does it; one whose size the user chose is not.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.files import read_checkpoint_json
from models.named_model import model_directory

NESTED, PLAIN = "processor_config.json", "preprocessor_config.json"
# Limits in pixels that no image meets.
NO_LIMITS = {"shortest_edge": 1, "longest_edge": 2**60}


def image_settings(directory: Path) -> tuple[dict[str, Any], str]:
    """Return the image processor's settings and the file that they stand in.

    transformers 5 writes them into processor_config.json, as `image_processor`; where they stand
    there, preprocessor_config.json is not read, as in transformers.

    Raises:
        ValueError: neither file has them, or one is damaged.
    """
    if (directory / NESTED).is_file():
        nested = read_checkpoint_json(directory, NESTED, "").get("image_processor")
        if isinstance(nested, dict):
            return dict(nested), NESTED
        if nested is not None:
            raise ValueError(
                f"{directory / NESTED}: image_processor is {nested!r}, not an object: fetch the"
                " file again"
            )
    missing = (
        "copy it from the checkpoint the weights come from (it says how images are resized;"
        f" {NESTED} holds no image_processor either)"
    )
    return read_checkpoint_json(directory, PLAIN, missing), PLAIN


def load_image_processor(directory: Path, config: dict[str, Any]) -> Any:
    """Return transformers' image processor of a checkpoint whose config.json is given.

    Raises:
        ValueError: the settings are missing, damaged, or of another checkpoint's patches.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    settings, file = image_settings(directory)
    settings |= _limits(settings, directory / file)
    try:
        processor = Qwen2VLImageProcessorPil.from_dict(settings)
    except Exception as error:  # a value of the wrong kind meets whatever it meets
        raise ValueError(
            f"{directory / file} makes no image processor ({type(error).__name__}: {error}): fetch"
            " it again"
        ) from error
    # Unresized, an image whose sides are no multiple would fail in the patches' reshape.
    if not processor.do_resize:
        raise ValueError(
            f"{directory / file} turns resizing off (do_resize), but an image's sides must become"
            f" multiples of {side_of_a_token(settings)} pixels: set do_resize to true"
        )
    # Files of two checkpoints would make patches that the tower reads as others.
    vision = config.get("vision_config") or {}
    for key, setting in (
        ("patch_size", "patch_size"),
        ("temporal_patch_size", "temporal_patch_size"),
        ("spatial_merge_size", "merge_size"),
    ):
        if key in vision and vision[key] != getattr(processor, setting):
            raise ValueError(
                f"{directory}: config.json has vision {key} {vision[key]} and {file} {setting}"
                f" {getattr(processor, setting)}: the two files come from different checkpoints"
            )
    _try(processor, directory / file)
    return processor


def _try(processor: Any, file: Path) -> None:
    """Raise a ValueError unless an image comes out as numbers.

    transformers checks image_mean, rescale_factor and their like only when it is given an image:
    every row of an evaluation would fail then, one after the other, and count as wrong.
    """
    # One visual token: the smallest image there is.
    image = Image.new("RGB", (28, 28))
    try:
        with np.errstate(all="ignore"):  # what comes out is looked at below
            batch = processor(images=[image], return_tensors="pt", size=NO_LIMITS)
        pixels = batch["pixel_values"]
    except Exception as error:  # a value of the wrong kind meets whatever it meets
        raise ValueError(
            f"{file} makes no image processor, it fails on any image ({type(error).__name__}:"
            f" {error}): fetch the file again"
        ) from error
    if not pixels.isfinite().all():
        raise ValueError(
            f"{file} makes NaN or inf of any image: look at image_std and rescale_factor in it, or"
            " fetch it again"
        )


def _limits(settings: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the settings' limits in pixels by their present name, or nothing if they have none.

    They have stood at the top and under `size`, as min_pixels and max_pixels and as shortest_edge
    and longest_edge; the top wins, and what is missing is the processor's own default.
    """
    size = settings.get("size") or {}
    if not isinstance(size, dict) or {"height", "width"} & size.keys():
        raise ValueError(
            f"{file}: size is {size!r}, not shortest_edge and longest_edge (or min_pixels and"
            " max_pixels) in pixels: take the file of a Qwen2-VL or Qwen2.5-VL checkpoint"
        )
    found = {}
    for pixels, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        values = (settings.get(pixels), size.get(edge), size.get(pixels))
        value = next((value for value in values if value is not None), None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1:
            raise ValueError(f"{file}: {pixels} is {value!r}, not a number of pixels: correct it")
        found[edge] = value
    if not found:
        return {}
    limits = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280} | found
    if len(found) == 2 and limits["shortest_edge"] > limits["longest_edge"]:
        raise ValueError(
            f"{file}: min_pixels {limits['shortest_edge']:,} is more than max_pixels"
            f" {limits['longest_edge']:,}: correct one of them"
        )
    return {"size": limits, "min_pixels": None, "max_pixels": None}


def seen_size(image_processor: Any, size: tuple[int, int], *, keep_size: bool) -> tuple[int, int]:
    """Return (width, height) in which the model sees an image of this (width, height).

    Args:
        image_processor: as `load_image_processor` returns it.
        size: of the image.
        keep_size: as `Processor.encode` takes it.

    Raises:
        ValueError: an image that is too elongated, which the processor refuses as well.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    limits = NO_LIMITS if keep_size else dict(image_processor.size)
    width, height = size
    height, width = smart_resize(
        height,
        width,
        factor=image_processor.patch_size * image_processor.merge_size,
        min_pixels=limits["shortest_edge"],
        max_pixels=limits["longest_edge"],
    )
    return width, height


def seen_image(image_processor: Any, image: Image.Image, *, keep_size: bool) -> Image.Image:
    """Return an image in the size that the model sees it in; encoded with ``keep_size``, its
    patches are those of the image. Arguments and errors are those of `seen_size`.
    """
    seen = seen_size(image_processor, image.size, keep_size=keep_size)
    return image if image.size == seen else image.resize(seen, image_processor.resample)


def side_of_a_token(settings: dict[str, Any]) -> int:
    """Return the side in pixels of the square that one visual token stands for."""
    return settings.get("patch_size", 14) * settings.get("merge_size", 2)


def seen_as(directory: Path, image_size: int) -> str:
    """Return how the model sees an image that was made `image_size` pixels square, in words.

    Raises:
        ValueError: as `image_settings`.
    """
    directory = model_directory(directory)  # of an adapter its base's
    settings, file = image_settings(directory)
    limits = _limits(settings, directory / file).get("size", {})
    side = side_of_a_token(settings)
    tokens = max(1, round(image_size / side))  # along a side, rounded as the processor rounds
    pixels = (tokens * side) ** 2
    text = f"{tokens * side} x {tokens * side} pixels, {tokens**2:,} visual tokens"
    for name, limit, crossed in (
        ("max_pixels", limits.get("longest_edge"), lambda limit: pixels > limit),
        ("min_pixels", limits.get("shortest_edge"), lambda limit: pixels < limit),
    ):
        if limit is not None and crossed(limit):
            text += f" ({name} {limit:,} in {file} is for images of their own size)"
    return text
