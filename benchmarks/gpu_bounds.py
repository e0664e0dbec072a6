"""What an H200 can do at best, and the bars of benchmarks/gpu.py. Pure functions, no device.

Shapes: N prompts, G completions each, B = N * G rows, C completion tokens, D hidden size, F width
of the MLP, V vocabulary, Hkv key/value heads, d head size, L layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES_PER_SECOND = 4.3e12  # what the bar of decoding is set against; an H200's data sheet: 4.8e12
FLOPS_PER_SECOND = 790e12  # that of the update; data sheet, dense bf16: 989e12


@dataclass(frozen=True)
class Bar:
    """One line of the verdict: a measured number and what it has to be."""

    name: str
    value: float | None  # None: not measured
    wanted: float
    at_most: bool = False

    @property
    def missed(self) -> bool:
        """Whether it was measured and falls short."""
        if self.value is None:
            return False
        return self.value > self.wanted if self.at_most else self.value < self.wanted

    def __str__(self) -> str:
        found = "not measured" if self.value is None else f"{self.value:.2f}"
        limit = f"{'at most' if self.at_most else 'at least'} {self.wanted:g}"
        return f"{self.name}: {found}, wanted {limit}"


def bars(row: Mapping[str, Any]) -> list[Bar]:
    """Return the bars of one group size, from its row in the result file."""
    return [
        Bar("decode, share of the bandwidth bound", row["decode_share_of_bound"], 0.60),
        Bar("rollout, times HF generate", row.get("times_hf_generate"), 8.0),
        Bar("first rollout beyond a later one, seconds", row["first_use_seconds"], 20.0, True),
        Bar("update, share of 790 TFLOP/s", row["update_share_of_peak"], 0.45),
        Bar("whole step, times TRL", row.get("times_trl"), 6.0),
    ]


def text_weights(text: Mapping[str, Any]) -> int:
    """Return the weights that a decoded token meets: all layers, the last norm, the output head.

    L (2 D D + 2 D Hkv d + D + 2 Hkv d + 3 D F + 2 D) + D + V D; of the input embedding only one
    row per token is read.

    Args:
        text: the fields of Qwen2-VL's text config; its query, key and value have biases.
    """
    D, F = text["hidden_size"], text["intermediate_size"]
    keys = text["num_key_value_heads"] * (D // text["num_attention_heads"])  # Hkv d
    attention = 2 * D * D + 2 * D * keys + D + 2 * keys
    layer = attention + 3 * D * F + 2 * D
    return text["num_hidden_layers"] * layer + D + text["vocab_size"] * D


def decode_bytes(
    text: Mapping[str, Any], *, prompt_tokens: int, rows: int, C: int, element_bytes: int = 2
) -> int:
    """Return what has to be read to decode C - 1 tokens per row; the first comes from the prefill.

    Every step reads all weights once, each prompt's keys and values once per group, and each row's
    own, the new token's included: step t = 1 .. C - 1 reads t of them.

    Args:
        text: as `text_weights` takes it.
        prompt_tokens: of all N prompts together, each counted once.
        rows: B.
        C: completion tokens, the same for all rows.
        element_bytes: of weights, keys and values.
    """
    head_size = text["hidden_size"] // text["num_attention_heads"]
    per_token = 2 * text["num_hidden_layers"] * text["num_key_value_heads"] * head_size
    steps = C - 1
    read = steps * text_weights(text) + per_token * (
        steps * prompt_tokens + rows * steps * (steps + 1) // 2
    )
    return element_bytes * read


def share_of_bandwidth(num_bytes: float, seconds: float) -> float:
    """Return how much of the memory's speed it took to read so much in that time."""
    return num_bytes / BYTES_PER_SECOND / seconds


def share_of_peak(flops: float, seconds: float) -> float:
    """Return how much of the matrix units' speed it took to compute so much in that time."""
    return flops / FLOPS_PER_SECOND / seconds
