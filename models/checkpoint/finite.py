"""Weights that are NaN or inf, named with the file that they stand in."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from models.architecture import QwenVL
from models.files import weight_files

_SHOWN = 3


def check_finite_weights(directory: Path, model: QwenVL) -> None:
    """Raise for weights or buffers that are not finite: all they touch would be so, gradients too.

    Args:
        directory: of the checkpoint, whose files are only looked into where something is wrong.
        model: as loaded, in the dtype that it is to compute in.

    Raises:
        ValueError: naming tensors, their file and what to do.
    """
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    dtype = str(model.dtype).removeprefix("torch.")
    if broken:
        found = list(_in_files(directory, model.dtype))
        shown = ", ".join(f"{name} in {file}" for name, file, _ in found[:_SHOWN])
        if found and all(overflows for *_, overflows in found):
            raise ValueError(
                f"{directory}: {len(found)} tensors hold numbers that {dtype} does not reach, and"
                f" become inf, for example {shown}: use a wider --dtype, or fetch them again"
            )
        raise ValueError(
            f"{directory}: {len(broken)} tensors of the weights hold NaN or inf in {dtype}, for"
            f" example {shown or ', '.join(broken[:_SHOWN])}: fetch them again, or take a"
            " checkpoint from before they broke"
        )
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and not buffer.isfinite().all():
            raise ValueError(
                f"{directory / 'config.json'} makes {name} NaN or inf: look at rope_theta and the"
                " rope settings in it, or fetch it again"
            )


def _in_files(directory: Path, dtype: torch.dtype) -> Iterator[tuple[str, str, bool]]:
    """Yield tensor, file, and whether its numbers are finite there and too large for ``dtype``."""
    for file in weight_files(directory):
        with safe_open(directory / file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 it is no mapping
                tensor = tensors.get_tensor(name)
                if not tensor.to(dtype).isfinite().all():
                    yield name, file, bool(tensor.isfinite().all())
