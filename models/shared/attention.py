"""How a completion reads its group's prompt: the ways to attend over packed groups, and the choice.

    CopyingReader   prompts copied in front of their rows, one call        models/shared/padded.py
    MergingReader   prompt and own tokens read apart and merged, on a CPU  models/shared/merged.py
    VarlenReader    the packed row as it lies, by varlen flash on CUDA     models/shared/varlen.py

All have one method, `read`, and give the same numbers but for rounding: a prompt's token reads its
own prompt up to itself; a completion's token its group's whole prompt, and its own row up to
itself. What a token "reads" is its attention output, softmax(scores) @ values, over those tokens.

transformers' layers call `packed_attention`, which is registered with it here. There is no dropout,
whatever the checkpoint's attention_dropout says: GRPO's ratio compares the distribution that was
sampled with the one being trained, and two dropout masks would make them differ before any weight
moves.

Shapes: T packed tokens, H query heads, Hkv key/value heads, d head size.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.architecture import Decoder, SelfAttention
from models.shared import flash
from models.shared.groups import PackedGroups
from models.shared.merged import MergingReader
from models.shared.padded import CopyingReader, PaddedReader
from models.shared.varlen import VarlenReader

NAME = "packed_groups"

GroupReader = PaddedReader | VarlenReader
# layer, query (T, H, d), key and value (T, Hkv, d), scale -> what is read, (T, H, d)
Attend = Callable[[int, Tensor, Tensor, Tensor, float], Tensor]


def choose_reader(text: Decoder, groups: PackedGroups) -> GroupReader:
    """Return the way in which these groups attend in this decoder: the one place of the choice."""
    calls = flash_of(text)
    if calls is not None:
        return VarlenReader(groups, calls)
    # Without varlen flash, kernels want rectangles and one head count for queries and keys.
    config = text.config
    heads_per_key = config.num_attention_heads // config.num_key_value_heads
    if MergingReader.is_faster(groups):
        return MergingReader(groups, heads_per_key)
    return CopyingReader(groups, heads_per_key)


def flash_of(text: Decoder) -> flash.Flash | None:
    """Return the varlen flash calls that this decoder attends by; None reads padded rectangles."""
    config, weight = text.config, text.norm.weight
    head_size = config.hidden_size // config.num_attention_heads
    return flash.flash_for(weight.device, weight.dtype, head_size)


def packed_attention(
    module: SelfAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    attend: Attend | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Return what each packed token reads, (1, T, H, d), and no weights, as transformers asks.

    Without `attend` this is transformers' SDPA, so a plain call of the model works as ever.

    Args:
        module: the layer's attention.
        query: (1, H, T, d) with rotary positions applied, in value's dtype or wider.
        key: (1, Hkv, T, d); value: the same.
        attention_mask: of a plain call.
        attend: how this pass reads (models/shared/layers.py).
        scaling, kwargs: what else a plain call gives.
    """
    if attend is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    # Rotary tables are float32, so queries and keys are too: rounded here, once (models/rotary.py).
    query, key = query.to(value.dtype), key.to(value.dtype)
    # Readers take tokens first, as the projections left them in memory: a view, no copy.
    query, key, value = (heads_first[0].transpose(0, 1) for heads_first in (query, key, value))
    return attend(module.layer_idx, query, key, value, module.scaling)[None], None


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for plain calls, which build their own masks
