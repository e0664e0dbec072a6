"""How much memory a run will need, from config.json alone, before any weight is loaded.

Shapes: D hidden size, F width of the MLP; of the text decoder or of the vision tower.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from models.architecture import QwenVL
from models.decode.buffers import Bucket
from models.files import transformers_config
from models.named_model import model_directory
from models.vision.features import LIMIT_BYTES

_OPTIONAL = ("decoding", "features", "embedding", "tiles", "context", "fragmentation")
PARTS = ("weights", "master", "moments", "gradients", "reference", "activations", *_OPTIONAL)
# Allowances, not measurements: CUDA's context with its kernels and cuBLAS's workspaces, and the
# share of what comes and goes in a step that the allocator holds between blocks of other sizes.
CONTEXT_BYTES = 750_000_000
FRAGMENTED_SHARE = 0.1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by purpose."""

    weights: int
    master: int  # the fp32 copy that AdamW updates, where the weights are not fp32
    moments: int  # AdamW's two, fp32
    gradients: int  # summed in fp32
    reference: int
    activations: int
    decoding: int = 0  # caches and fused weights that CUDA graphs hold beside training
    features: int = 0  # of images, kept where the vision tower is frozen; at most
    embedding: int = 0  # its gradients from input and output at once, and their fp32 copy
    tiles: int = 0  # of logits, in the log-prob op
    context: int = 0  # what CUDA takes for itself
    fragmentation: int = 0  # what the allocator cannot hand out

    @property
    def resident(self) -> int:
        """What neither smaller micro-batches nor recomputed activations lower."""
        return self.total - self.activations - self.tiles - self.fragmentation

    @property
    def total(self) -> int:
        return sum(getattr(self, part) for part in PARTS)

    def __str__(self) -> str:
        """One line in units of 1e9 bytes, largest reasons visible."""
        listed = ", ".join(
            f"{part} {getattr(self, part) / 1e9:.1f}"
            for part in PARTS
            if part not in _OPTIONAL or getattr(self, part)
        )
        return f"{self.total / 1e9:.1f} GB ({listed})"


def estimate_memory(
    path: str | Path,
    *,
    dtype: torch.dtype,
    text_tokens: int,
    patches: int,
    reference: bool = True,
    freeze_vision: bool = False,
    gradient_checkpointing: bool = False,
    decode_bucket: Bucket | None = None,
    tiles: int = 0,
    on_cuda: bool = False,
) -> MemoryEstimate:
    """Return what full fine-tuning of a checkpoint needs; one decode step's tensors are left out.

    Args:
        path: as for `load_policy`; only config.json is read.
        dtype: of the weights.
        text_tokens: of one forward with gradient: each prompt once plus its completions.
        patches: image patches of the same forward; a 384 x 384 image has 784 (28 x 28).
        reference: whether a frozen copy stands on the same device.
        freeze_vision: its features are then kept, up to `models.vision.features.LIMIT_BYTES`.
        decode_bucket: of rollouts whose CUDA graphs keep caches beside training; None on a CPU.
        tiles: bytes that the log-prob op works in.
        on_cuda: whether CUDA's context and the fragmentation of its allocator are counted.
    """
    model = _weightless_model(model_directory(path))
    count = sum(parameter.numel() for parameter in model.parameters())
    vision = sum(parameter.numel() for parameter in model.model.visual.parameters())
    # A frozen tower has weights, and neither a master nor moments nor gradients.
    trained = count - vision if freeze_vision else count
    patches_kept = 0 if freeze_vision else patches  # no gradient goes through a frozen tower
    elements = _forward_elements(model, text_tokens, patches_kept, gradient_checkpointing)
    activations, embedding = elements * dtype.itemsize, _embedding_bytes(model, dtype)
    # What comes and goes within a step is what an allocator cuts its blocks for.
    passing = activations + embedding + tiles
    return MemoryEstimate(
        weights=count * dtype.itemsize,
        master=0 if dtype == torch.float32 else trained * 4,
        moments=trained * 8,
        gradients=trained * 4,
        reference=count * dtype.itemsize if reference else 0,
        activations=activations,
        decoding=_decode_elements(model, decode_bucket) * dtype.itemsize if decode_bucket else 0,
        features=LIMIT_BYTES if freeze_vision else 0,
        embedding=embedding,
        tiles=tiles,
        context=CONTEXT_BYTES if on_cuda else 0,
        fragmentation=round(FRAGMENTED_SHARE * passing) if on_cuda else 0,
    )


def _embedding_bytes(model: QwenVL, dtype: torch.dtype) -> int:
    """Return what the (V, D) gradients of input and output embedding take beside their sum.

    Autograd makes each of them whole. Tied, both wait for each other before they are added; in half
    precision the sum is then copied to fp32 for the master's own, and all three are there at once.
    """
    # The head's comes from the log-prob op, the embedding's from its own backward.
    head = model.lm_head.weight
    tied = model.config.tie_word_embeddings
    in_half = dtype != torch.float32
    return head.numel() * ((2 if tied else 1) * dtype.itemsize + 4 * in_half)


def plain_copy_bytes(model: QwenVL, *, text_tokens: int, logits: int, patches: int) -> int:
    """Return what one row with gradient through transformers' own model needs, beside that of ours.

    The model in float32, all its gradients at once, what autograd keeps of the row without
    checkpointing, and its logits four times (as they are, banned, their log-softmax, its gradient).

    Args:
        model: of the sizes; nothing but them is read.
        text_tokens: of the row.
        logits: how many of its tokens meet the output head.
        patches: of its images.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    elements = _forward_elements(model, text_tokens, patches, checkpointing=False)
    elements += 4 * logits * len(model.lm_head.weight)
    return 4 * (2 * count + elements)


def _decode_elements(model: QwenVL, bucket: Bucket) -> int:
    """Return 2 L Hkv d (R S + N P) of caches and L (H + 2 Hkv) d D of fused projections."""
    config = model.config.text_config
    head_size = config.hidden_size // config.num_attention_heads
    # A prompt is kept once for its rows, each row's own tokens beside it.
    slots = bucket.rows * bucket.slots + bucket.prompts * bucket.prompt_slots
    caches = 2 * config.num_key_value_heads * head_size * slots
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    return config.num_hidden_layers * (caches + heads * head_size * config.hidden_size)


def _weightless_model(directory: Path) -> QwenVL:
    """Return the model's shapes: parameters that have no memory."""
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(transformers_config(directory))


def _forward_elements(model: QwenVL, text_tokens: int, patches: int, checkpointing: bool) -> int:
    """Return the elements autograd keeps of one forward, the patches' pixels included."""
    patch_size = model.model.visual.patch_embed.proj.weight[0].numel()
    text = text_tokens * _text_elements(model, checkpointing)
    return text + patches * (patch_size + _vision_elements(model, checkpointing))


def _text_elements(model: QwenVL, checkpointing: bool) -> int:
    """Return the elements autograd keeps per token of the decoder.

    One layer keeps: of each RMSNorm its input in fp32 (2 D in bf16 elements) and two products
    (2 D); the attention's query, output and projection input (3 D), keys and values; the MLP's
    gate, its activation, the up product and their product (4 F).
    """
    config = model.config.text_config
    head_size = config.hidden_size // config.num_attention_heads
    keys_and_values = 2 * config.num_key_value_heads * head_size
    layer = 11 * config.hidden_size + keys_and_values + 4 * config.intermediate_size
    return _stack(layer, config.hidden_size, config.num_hidden_layers, checkpointing)


def _vision_elements(model: QwenVL, checkpointing: bool) -> int:
    """Return the elements autograd keeps per image patch of the vision tower.

    One block keeps two norms (2 D each, Qwen2.5-VL's RMSNorm 4 D), query, key, value, output and
    its copy (5 D), and three or, gated, four widths of the MLP.
    """
    config, blocks = model.config.vision_config, model.model.visual.blocks
    # Qwen2.5-VL's blocks are gated, and its config names the tower's width otherwise.
    gated = hasattr(blocks[0].mlp, "gate_proj")
    size = config.hidden_size if gated else config.embed_dim
    width = config.intermediate_size if gated else int(size * config.mlp_ratio)
    block = 13 * size + 4 * width if gated else 9 * size + 3 * width
    return _stack(block, size, config.depth, checkpointing)


def _stack(layer: int, layer_input: int, depth: int, checkpointing: bool) -> int:
    """Return the elements of all layers; checkpointing keeps each input and one layer whole."""
    return depth * layer_input + layer if checkpointing else depth * layer
