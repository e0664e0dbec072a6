"""Directories that are no checkpoint to train, refused as what they are, before anything is loaded.

Quantised weights, adapters, GGUF files, Git LFS pointers: each would fail later, under the name of
something else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from process.regular import check_folder, open_regular, read_text

_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_SIZE = 1024  # bytes that no pointer exceeds
_ADAPTER = "adapter_config.json"
# Where quantisers leave word, beside config.json or within it.
_QUANT_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
_QUANT_KEYS = ("quantization_config", "compression_config", "quant_config")
# Tensors that only quantised layers have: GPTQ and AWQ, compressed-tensors and fp8, bitsandbytes.
_QUANT_TENSOR = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|weight_packed|weight_scale(_inv)?|weight_zero_point|input_scale"
    r"|absmax|quant_map|SCB|weight_format|quant_state\..*|weight\.(absmax|quant_map|quant_state.*))$"
)
_NARROW_DTYPE = re.compile(r"[UI](4|8|16|32)|F[468](_.*)?")  # safetensors' names
_ADAPTER_TENSOR = re.compile(r"\.lora_|\.base_layer\.|^base_model\.|\.modules_to_save\.")
_UNQUANTISED = (
    "quantised weights can be neither trained nor compared with others here; take the unquantised"
    " checkpoint that it was made from (float32, float16 or bfloat16), such as"
    " Qwen/Qwen2-VL-2B-Instruct"
)


def check_kind(directory: Path) -> None:
    """Raise a ValueError for a directory whose files alone say that it is something else."""
    check_folder(directory)
    for file in sorted(directory.iterdir()):
        if file.is_file() and file.stat().st_size < _LFS_SIZE and _starts_as_pointer(file):
            raise ValueError(
                f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` in the"
                " clone, or fetch the checkpoint with `hf download`"
            )
    if (directory / _ADAPTER).is_file():
        raise ValueError(
            f"{directory} holds an adapter{_of_base(directory / _ADAPTER)} ({_ADAPTER}), such as"
            " LoRA's, and no whole model, which is needed here: write it merged first (python -m"
            f" models.checkpoint.merge {directory} NEW_DIR), and name that directory"
        )
    gguf = sorted(directory.glob("*.gguf"))
    if gguf and not list(directory.glob("*.safetensors")):
        raise ValueError(f"{directory} holds a GGUF file ({gguf[0].name}): {_UNQUANTISED}")


def _starts_as_pointer(file: Path) -> bool:
    try:
        with open_regular(file) as stream:
            return stream.read(len(_LFS)) == _LFS
    except OSError:  # whoever needs the file names it
        return False


def _of_base(adapter_config: Path) -> str:
    try:
        base = json.loads(read_text(adapter_config))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" for {base}" if base else ""


def check_not_quantised(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise a ValueError if config.json or a quantiser's own file says that weights are quantised.

    Args:
        directory: the checkpoint's.
        config: its config.json.
    """
    for part in (config, config.get("text_config"), config.get("vision_config")):
        for key in _QUANT_KEYS:
            settings = part.get(key) if isinstance(part, Mapping) else None
            if settings:
                raise ValueError(
                    f"{directory} is a quantised checkpoint ({_method(settings)}, {key} in"
                    f" config.json): {_UNQUANTISED}"
                )
    for name in _QUANT_FILES:
        if (directory / name).is_file():
            raise ValueError(f"{directory} is a quantised checkpoint ({name}): {_UNQUANTISED}")


def _method(settings: Any) -> str:
    """Return a quantiser's name and bits, as far as its settings tell them."""
    if not isinstance(settings, Mapping):
        return str(settings)
    method = settings.get("quant_method") or settings.get("quant_algo") or "quantised"
    bits = settings.get("bits") or settings.get("w_bit")
    for number in (4, 8):
        bits = bits or (number if settings.get(f"load_in_{number}bit") else None)
    return f"{method}, {bits} bits" if bits else str(method)


def check_tensors(file: Path, dtypes: Mapping[str, str]) -> None:
    """Raise a ValueError if a weight file's tensors are those of a quantised layer or an adapter.

    Args:
        file: a safetensors file.
        dtypes: name -> dtype, as safetensors writes it.
    """
    for name, dtype in dtypes.items():
        if _QUANT_TENSOR.search(name) or _NARROW_DTYPE.fullmatch(dtype):
            raise ValueError(f"{file} holds quantised weights ({name}, {dtype}): {_UNQUANTISED}")
        if _ADAPTER_TENSOR.search(name):
            raise ValueError(
                f"{file} holds an adapter's tensors ({name}): merge the adapter into its base first"
                " (peft's merge_and_unload, then save_pretrained)"
            )
