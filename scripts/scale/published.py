"""The published sizes of both families, as configs.

Names are those of the command: 2b, 7b and 72b are Qwen2-VL's, 2.5-3b and so on Qwen2.5-VL's.
"""

from typing import Any

_ROPE = {"type": "mrope", "mrope_section": [16, 24, 24]}
_TEXT = {"rope_theta": 1e6, "rope_scaling": _ROPE, "max_position_embeddings": 32_768}
_TOWER = {"depth": 32, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2}
_FIRST = _TOWER | {"embed_dim": 1280, "mlp_ratio": 4, "in_chans": 3, "in_channels": 3}
_SECOND = _TOWER | {
    **{"hidden_size": 1280, "in_chans": 3, "in_channels": 3, "window_size": 112},
    "fullatt_block_indexes": [7, 15, 23, 31],
}


def _text(
    width: int, layers: int, heads: int, kv_heads: int, mlp: int, vocabulary: int = 152_064
) -> dict[str, Any]:
    return _TEXT | {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
        # The small ones have one embedding for input and output, and a table of that many ids.
        "tie_word_embeddings": vocabulary == 151_936,
    }


# model_type, text, vision; the tower's output is as wide as the text.
_PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "2b": ("qwen2_vl", _text(1536, 28, 12, 2, 8960, 151_936), _FIRST),
    "7b": ("qwen2_vl", _text(3584, 28, 28, 4, 18_944), _FIRST),
    "72b": ("qwen2_vl", _text(8192, 80, 64, 8, 29_568), _FIRST),
    "2.5-3b": (
        *("qwen2_5_vl", _text(2048, 36, 16, 2, 11_008, 151_936)),
        _SECOND | {"intermediate_size": 3420},
    ),
    "2.5-7b": ("qwen2_5_vl", _text(3584, 28, 28, 4, 18_944), _SECOND | {"intermediate_size": 3420}),
    "2.5-32b": (
        *("qwen2_5_vl", _text(5120, 64, 40, 8, 27_648)),
        _SECOND | {"intermediate_size": 3456},
    ),
    "2.5-72b": (
        *("qwen2_5_vl", _text(8192, 80, 64, 8, 29_568)),
        _SECOND | {"intermediate_size": 3456},
    ),
}
NAMES = tuple(_PUBLISHED)


def config_of(name: str) -> Any:
    """Return transformers' config of a published size."""
    from transformers import CONFIG_MAPPING

    family, text, vision = _PUBLISHED[name]
    out = "out_hidden_size" if family == "qwen2_5_vl" else "hidden_size"
    config = {**text, "vision_config": vision | {out: text["hidden_size"]}}
    return CONFIG_MAPPING[family](**config)
