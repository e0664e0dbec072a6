"""FLOPs of a forward by the textbook: what sharing a prompt among G completions can save at most.

Counted are matrix products: projections, MLPs, attention over the visible keys, the output head on
completion tokens, the vision tower. A backward costs two forwards; what checkpointing computes
again is not counted.

Shapes: N prompts, G completions each, P prompt tokens, C completion tokens, K image patches.
"""

from typing import Any


def text_flops(config: Any, *, N: int, G: int, P: int, C: int, shared: bool) -> float:
    """Return those of the text body for N groups, each prompt run once or G times."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    head_size = hidden // heads
    projections = 2 * hidden * hidden + 2 * hidden * config.num_key_value_heads * head_size
    per_token = 2 * (projections + 3 * hidden * config.intermediate_size)
    prompts, rows = N if shared else N * G, N * G
    tokens = prompts * P + rows * C
    visible = prompts * P * (P + 1) / 2 + rows * C * (P + (C + 1) / 2)
    return config.num_hidden_layers * (tokens * per_token + visible * 4 * hidden)


def forward_flops(
    config: Any, *, N: int, G: int, P: int, C: int, K: int, shared: bool
) -> float:  # fmt: skip
    """Return those of a whole forward: vision tower, text body, head on completion tokens."""
    text, vision = config.text_config, config.vision_config
    body = text_flops(text, N=N, G=G, P=P, C=C, shared=shared)
    images = N if shared else N * G
    return body + head_flops(text, N * G * C) + images * vision_flops(vision, K)


def update_flops(config: Any, *, N: int, G: int, P: int, C: int, K: int) -> float:
    """Return those of a forward and backward with shared prompts, every weight trained."""
    return 3 * forward_flops(config, N=N, G=G, P=P, C=C, K=K, shared=True)


def step_flops(
    config: Any, *, N: int, G: int, P: int, C: int, K: int, frozen: bool = False
) -> float:  # fmt: skip
    """Return those of rollout, reference and update: what is computed is five forwards.

    Frozen are vision tower and embeddings: images are then encoded once in a step, and the head's
    backward is one product instead of two.
    """
    five = 5 * forward_flops(config, N=N, G=G, P=P, C=C, K=K, shared=True)
    if not frozen:
        return five
    spared = 4 * N * vision_flops(config.vision_config, K)
    return five - spared - head_flops(config.text_config, N * G * C)


def head_flops(text: Any, tokens: int) -> float:
    """Return those of the output head."""
    return 2 * text.hidden_size * text.vocab_size * tokens


def vision_flops(vision: Any, patches: int) -> float:
    """Return those of the vision tower on one image."""
    width, merged = vision.embed_dim, vision.embed_dim * vision.spatial_merge_size**2
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    block = 2 * patches * (4 + 2 * vision.mlp_ratio) * width**2 + 4 * patches**2 * width
    merger = patches / vision.spatial_merge_size**2 * 2 * merged * (merged + vision.hidden_size)
    return 2 * patches * patch * width + vision.depth * block + merger
