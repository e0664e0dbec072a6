"""How many questions are answered at once, where nobody says: as many as help and fit."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from data.examples import VQAExample
from evaluation.asking.settings import AskingSettings
from grpo.settings.device_memory import free_memory
from models.policy import Policy
from process.ranks import world

# Decoding reads every weight once a token whatever the number of rows: by that reasoning 128 rows
# take a GPU about as long as 16 (not yet measured on one). On a CPU the embedded model's 800
# held-out questions are four batches. More rows wait longer for the longest of them.
MOST = {"cuda": 128, "cpu": 256}

# Of the memory that stands idle; the rest is for what is not counted: the allocator's rounding, a
# few large images among small ones, the graphs' own tensors.
SHARE = 0.5


# Tokens that are read after an answer for its letters (evaluation/asking/spellings.py; Qwen2-VL's
# 165).
LETTER_TOKENS = 170


def batch_size_of(
    given: int | None,
    policy: Policy,
    settings: AskingSettings,
    examples: Iterable[VQAExample],
    *,
    with_letters: bool,
) -> int:
    """Return the batch size that was given, else what fits into the memory that is free now."""
    if given is not None:
        return given
    return questions_at_once(
        policy,
        settings.image_size,
        settings.max_completion_tokens,
        free_memory(policy.device),
        images=most_images(examples),
        with_letters=with_letters,
    )


def most_images(examples: Iterable[VQAExample]) -> int:
    """Return how many images the example with most of them shows."""
    return max((len(example.images) for example in examples), default=0)


def questions_at_once(
    policy: Policy,
    image_size: int,
    max_completion_tokens: int,
    available: float,
    *,
    images: int = 1,
    with_letters: bool = False,
) -> int:
    """Return the largest power of two up to MOST whose questions fit into SHARE of the memory.

    At least 1. Prompts are taken as their images and 128 tokens of text.

    Args:
        policy: that answers, for its device and shape.
        image_size: images become squares of this side; 0: taken as 384.
        max_completion_tokens: of an answer.
        available: bytes of the policy's device that stand idle; of a CPU's, processes that work
            together have an equal part each.
        with_letters: whether the letters' probabilities are read too.
    """
    most = MOST.get(policy.device.type, MOST["cuda"])
    letters = max_completion_tokens + LETTER_TOKENS if with_letters else 0
    each = bytes_per_question(policy, image_size, max_completion_tokens, letters, images)
    sharing = world().place.local_size if policy.device.type == "cpu" else 1
    fitting = SHARE * available / sharing / each
    size = 1
    while 2 * size <= min(most, fitting):
        size *= 2
    return size


def bytes_per_question(
    policy: Policy,
    image_size: int,
    max_completion_tokens: int,
    read_again: int = 0,
    images: int = 1,
) -> int:
    """Return what one question takes while it is read and answered, without gradient.

        caches   2 L Hkv d (2 P + C)    the prompt's as it was read, and laid out for decoding
        decoder  (P + A) (8 D + 4 F)    one layer: norms, query, read, projections; the MLP's four
        vision   K (20 D' + p)          one block over the patches: attention, an MLP; their pixels
        logits   3 V in float32         with what chooses and scores a token

    P prompt and C completion tokens, A read again for the letters, K patches of p numbers, L
    layers, Hkv key/value heads of size d, D and D' hidden sizes, F width of the decoder's MLP, V
    vocabulary.
    """
    config: Any = policy.text.config  # transformers': its numbers have no types
    side = 2 * max(1, round((image_size or 384) / 28))  # patches: 28 pixels are two
    patches, tokens = images * side**2, images * side**2 // 4 + 128
    head_size = config.hidden_size // config.num_attention_heads
    layer_cache = 2 * config.num_key_value_heads * head_size
    caches = config.num_hidden_layers * layer_cache * (2 * tokens + max_completion_tokens)
    decoder = (tokens + read_again) * (8 * config.hidden_size + 4 * config.intermediate_size)
    visual: Any = policy.visual
    patch_weight: Tensor = visual.patch_embed.proj.weight
    vision = patches * (20 * len(patch_weight) + patch_weight[0].numel())
    logits = 3 * len(policy.output_weight) * torch.float32.itemsize
    return (caches + decoder + vision) * policy.dtype.itemsize + logits
