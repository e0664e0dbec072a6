"""A safetensors file written piece by piece, each handed to a second reader on its way.

The same bytes as safetensors' own `save_file` for tensors of one dtype. That one takes all tensors
of a GPU to the host before it writes the first, and whoever wants a checksum of 26 GB must read
them back.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, BinaryIO

import torch
from torch import Tensor

_DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint8: "U8",
}
_AT_ONCE = 2  # copies of a GPU's tensors that wait to be read


def write_tensors(
    stream: BinaryIO, tensors: Mapping[str, Tensor], also: Callable[[Any], Future]
) -> None:
    """Write the tensors to a binary stream.

    Args:
        stream: at its beginning.
        tensors: name -> tensor, on any device.
        also: is handed every piece that is written; the piece stays as it is until its future is
            done.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header = _header(dict(ordered))
    also(header)
    stream.write(header)
    copies: list[Future] = []
    for _, tensor in ordered:
        on_host = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        piece = on_host.numpy().data
        read = also(piece)
        if on_host.data_ptr() != tensor.data_ptr():
            copies.append(read)
        stream.write(piece)
        if len(copies) > _AT_ONCE:
            copies.pop(0).result()


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    entries, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text
