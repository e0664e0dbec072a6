"""What a config.json may say of its model: sizes that a model can have, and nothing of how to run.

A number there decides how much memory is taken before any weight is compared with it, and a word
there may name code to be fetched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Choices of how transformers runs a model, and code that came with it: an attention's name would
# replace the one that is asked for, and one with a slash in it is code, fetched from the hub.
_NOT_THE_MODELS = {
    *("attn_implementation", "experts_implementation", "auto_map", "use_kernels"),
    *("kernel_config", "custom_pipelines", "trust_remote_code", "quantization_config"),
    *("compression_config", "quant_config", "output_attentions", "output_hidden_states"),
    *("return_dict",),
}
_DTYPES = ("float64", "float32", "float16", "bfloat16")

# Many times what the largest of the family has: a typing mistake or worse, not a larger model.
_MOST = {
    **dict.fromkeys(("num_hidden_layers", "depth"), 1_000),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_heads"), 4_096),
    **dict.fromkeys(("hidden_size", "embed_dim", "out_hidden_size"), 131_072),
    **dict.fromkeys(("patch_size", "temporal_patch_size", "spatial_merge_size"), 512),
    **dict.fromkeys(("in_channels", "in_chans", "mlp_ratio"), 512),
    **{"intermediate_size": 1_048_576, "vocab_size": 4_194_304},
    **{"max_position_embeddings": 2**30, "window_size": 65_536},
}
_SPARE = 100_000_000  # weights more than the files hold that are left to be named one by one


def cleaned(part: Any) -> Any:
    """Return a config, its parts at any depth included, without what is not the model's to say."""
    if isinstance(part, list):
        return [cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {key: cleaned(value) for key, value in part.items() if _is_the_models(key, value)}


def _is_the_models(key: str, value: Any) -> bool:
    if key in ("dtype", "torch_dtype"):
        return value in _DTYPES
    return not key.startswith("_") and key not in _NOT_THE_MODELS


def check_sizes(file: Path, config: Mapping[str, Any]) -> None:
    """Raise for a size that is no whole number from 1 to what a model can have.

    Args:
        file: config.json, for the message.
        config: its content, flat or nested.

    Raises:
        ValueError: naming the key and its value.
    """
    for where, part in _parts(config):
        for key, most in _MOST.items():
            value = part.get(key)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (
                (whole or (key == "mlp_ratio" and isinstance(value, float))) and 0 < value <= most
            ):
                shown = str(value) if not whole or value.bit_length() < 99 else "a huge number"
                raise ValueError(
                    f"{file}: {where}{key} is {shown[:99]!r}, not a whole number from 1 to"
                    f" {most:,}: fetch it again"
                )


def check_fits(directory: Path, config: Mapping[str, Any], num_bytes: int) -> None:
    """Raise for a config of far more weights than the files can hold: no memory is taken for them.

    Args:
        directory: the checkpoint's.
        config: its config.json, `check_sizes` passed.
        num_bytes: of all its weight files; a weight has two at least.

    Raises:
        ValueError: with both numbers.
    """
    text = {**config, **(config.get("text_config") or {})}
    vision = config.get("vision_config") or {}
    layers, width = text.get("num_hidden_layers") or 0, text.get("hidden_size") or 0
    inner, words = text.get("intermediate_size") or 0, text.get("vocab_size") or 0
    side = vision.get("embed_dim") or vision.get("hidden_size") or 0
    # Query and output projection, the MLP's three matrices, the embedding; a block's four squares.
    least = layers * (2 * width * width + 3 * width * inner) + words * width
    least += (vision.get("depth") or 0) * 4 * side * side
    if least > num_bytes // 2 + _SPARE:
        raise ValueError(
            f"{directory}: config.json describes a model of at least {least:,} weights, and the"
            f" files hold at most {num_bytes // 2:,}: they do not belong together, fetch it again"
        )


def _parts(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    parts: list[tuple[str, Mapping[str, Any]]] = [("", config)]
    for name in ("text_config", "vision_config"):
        part = config.get(name)
        if isinstance(part, Mapping):
            parts.append((f"{name}.", part))
    return parts
