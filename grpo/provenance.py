"""What run.json says of where a run came from, and the check that a resumed run still has it."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("groupwise", "torch", "transformers", "safetensors", "numpy", "pillow")


def machine() -> dict[str, Any]:
    """Return library versions and the machine's devices."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": {"python": platform.python_version(), **{n: _version(n) for n in PACKAGES}},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()}
        | {"gpus": gpus},
    }


def model_checksum(directory: Path) -> str:
    """Return one SHA-256 over a checkpoint's weights, tokenizer and settings, names included."""
    digest = hashlib.sha256()
    kinds = {".json", ".safetensors", ".jinja", ".txt"}
    for file in sorted(file for file in directory.iterdir() if file.suffix in kinds):
        digest.update(f"{file.name} {file_checksum(file)}\n".encode())
    return digest.hexdigest()


def file_checksum(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_checksum(text: str) -> str:
    """Return a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_unchanged(stored: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise if a source of the run is not what it was when the run began.

    Args:
        stored: run.json's checksums by name.
        found: today's.

    Raises:
        ValueError: naming every source that differs.
    """
    changed = [name for name in stored if stored[name] != found.get(name)]
    if changed:
        raise ValueError(
            f"cannot resume: {', '.join(changed)} changed since the run began (its SHA-256 differs"
            " from run.json's), so it would not be the same run: restore it, or start a new run"
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source" if package == "groupwise" else "unknown"
