"""A safetensors file in pieces, for more than one reader: one writes it, one hashes it.

The same bytes as safetensors' own `save_file` for tensors of one dtype. That one takes all tensors
of a GPU to the host before it writes the first, and whoever wants a checksum of 26 GB must read
them back.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

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


def pieces(tensors: Mapping[str, Tensor]) -> Iterator[tuple[Any, bool]]:
    """Yield the bytes of a file of these tensors, and of each piece whether it is a copy.

    What is no copy is the tensor's own memory. Tensors of a GPU come to the host one at a time.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    yield _header(dict(ordered)), False
    for _, tensor in ordered:
        on_host = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        yield on_host.numpy().data, on_host.data_ptr() != tensor.data_ptr()


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
