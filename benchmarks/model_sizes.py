"""Published sizes of Qwen2-VL, and the smaller ones of the growth table, as changes to configs."""

from typing import Any

Dims = dict[str, dict[str, Any] | None]  # "text" and "vision"; None is the embedded checkpoint's


def _rope(theta: float, *sections: int) -> dict[str, Any]:
    return {"mrope_section": list(sections), "rope_theta": theta, "rope_type": "default"}


_QWEN_VISION = {
    "embed_dim": 1280,
    "depth": 32,
    "num_heads": 16,
    "mlp_ratio": 4,
    "initializer_range": 0.02,
}
_QWEN_TEXT = {
    "num_hidden_layers": 28,
    "max_position_embeddings": 32_768,
    "initializer_range": 0.02,
    "rope_parameters": _rope(1e6, 16, 24, 24),
}
QWEN2_VL_2B: Dims = {
    "text": {
        **_QWEN_TEXT,
        "hidden_size": 1536,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "vocab_size": 151_936,
        "tie_word_embeddings": True,
    },
    "vision": _QWEN_VISION,
}
QWEN2_VL_7B: Dims = {
    "text": {
        **_QWEN_TEXT,
        "hidden_size": 3584,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18_944,
        "vocab_size": 152_064,
        "tie_word_embeddings": False,
    },
    "vision": _QWEN_VISION,
}


def _half_of_2b() -> Dims:
    return QWEN2_VL_2B | {"text": QWEN2_VL_2B["text"] | {"num_hidden_layers": 14}}


def small(hidden: int, layers: int, width: int, *sections: int) -> Dims:
    """Return a text body of 4 heads with the embedded checkpoint's vocabulary and vision tower."""
    text = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": width}
    return {"text": text | {"rope_parameters": _rope(1e4, *sections)}, "vision": None}


MODELS: dict[str, Dims] = {
    "embedded": {"text": None, "vision": None},
    "128 x 6": small(128, 6, 256, 4, 6, 6),
    "192 x 6": small(192, 6, 576, 6, 9, 9),
    "256 x 6": small(256, 6, 768, 8, 12, 12),
    "64 x 2": small(64, 2, 128, 2, 3, 3),
    "half of 2B": _half_of_2b(),
    "2B": QWEN2_VL_2B,
    "7B": QWEN2_VL_7B,
}
