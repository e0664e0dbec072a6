"""A safetensors file in pieces, for more than one reader: one writes it, one hashes it.

The same bytes as safetensors' own `save_file` for tensors of one dtype. That one takes all tensors
of a GPU to the host before it writes the first, and whoever wants a checksum of 26 GB must read
them back. Here no more than SLICE bytes of a tensor come to the host at a time.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from process.naming import naming
from process.signals import come_further

PART = 2_000_000_000  # bytes of tensors in one file: what any file system and copy tool takes
FORMAT = {"format": "pt"}  # what transformers and peft want a file of weights to say
SLICE = 1 << 24  # bytes that come to the host at a time
_DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
}


def write_tensor_file(
    file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file.

    Args:
        file: its place.
        tensors: by name.
        metadata: as safetensors has it; of weights {"format": "pt"}.

    Raises:
        OSError: it cannot be written; it names the file.
    """
    with naming(file), file.open("wb") as stream:
        for piece, _ in pieces(tensors, metadata):
            stream.write(piece)


def pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[tuple[Any, bool]]:
    """Yield the bytes of a file of these tensors, and of each piece whether it is a copy.

    What is no copy is the tensor's own memory.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    yield _header(dict(ordered), metadata), False
    for _, tensor in ordered:
        values = tensor.detach().contiguous().reshape(-1)
        for part in values.split(SLICE // values.element_size()):
            come_further()  # other processes wait, for minutes where a disk is slow
            held = on_host(part)
            yield held.view(torch.uint8).numpy().data, held.data_ptr() != part.data_ptr()


def on_host(values: Tensor) -> Tensor:
    """Return a slice of a tensor in the host's memory, a GPU's copied there."""
    return values.cpu()


def file_size(tensors: Mapping[str, Tensor]) -> int:
    """Return how many bytes a file of these tensors has; they need no memory (device "meta")."""
    return len(_header(tensors, None)) + sum(tensor.nbytes for tensor in tensors.values())


def dtype_name(dtype: torch.dtype) -> str:
    """Return what safetensors calls a dtype.

    >>> dtype_name(torch.float32)
    'F32'
    """
    return _DTYPES[dtype]


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype that safetensors calls so.

    Raises:
        ValueError: none that is written here.

    >>> dtype_of("F32")
    torch.float32
    """
    for dtype, known in _DTYPES.items():
        if known == name:
            return dtype
    raise ValueError(f"dtype {name!r} is unknown")


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> bytes:
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text
