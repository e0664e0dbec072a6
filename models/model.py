"""What a policy is made of: transformers' model, its processor, where it computes, its images.

Shapes: D hidden size, V vocabulary.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from models.architecture import Decoder, DecoderLayer, QwenVL, VisionTower
from models.prompts.processor import Processor
from models.prompts.prompt import EncodedPrompt
from models.shared import attention
from models.vision import tower as vision
from models.vision.features import FeatureCache


class PolicyModel(nn.Module):
    """A Qwen2-VL or Qwen2.5-VL with its processor; `models.policy.Policy` runs it.

    It stays in train() mode: nothing in it is random (attention dropout is never applied, see
    models/shared/attention.py) and transformers checkpoints activations in that mode only.
    """

    def __init__(self, model: QwenVL, processor: Processor, path: str | Path) -> None:
        super().__init__()
        self.model = model  # transformers' Qwen2VLForConditionalGeneration, or 2.5's
        self.processor = processor
        self.path = path
        self.offloaded = False
        self.feature_cache: FeatureCache | None = None
        # From here on transformers' layers call our attention, and the tower ours.
        self.text.config._attn_implementation = attention.NAME
        vision.embed_patches_by_matmul(self.visual)
        vision.attend_in_runs(self.visual)

    @property
    def text(self) -> Decoder:
        """The decoder: embed_tokens, rotary_emb, layers, norm."""
        return self.model.model.language_model

    @property
    def visual(self) -> VisionTower:
        """The vision tower."""
        return self.model.model.visual

    @property
    def output_weight(self) -> nn.Parameter:
        """The (V, D) output embedding; the input embedding itself when they are tied."""
        return cast(nn.Parameter, self.model.lm_head.weight)

    @property
    def device(self) -> torch.device:
        """Where the text's weights are, and so where it is run."""
        return self.text.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the text's weights."""
        return self.text.norm.weight.dtype

    @property
    def gradient_scale(self) -> int:
        """What every loss is multiplied by before its backward: more than 1 for a sharded policy.

        Its processes' gradients are averaged where they are to be summed.
        """
        return 1

    def settle_gradients(self) -> None:
        """Make gradients ready to be used: those of a sharded policy need its other processes."""

    def free_gathered(self) -> None:
        """Free what passes have gathered of a sharded policy; of another one nothing is."""

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and completion may have together."""
        return self.text.config.max_position_embeddings

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether layers, vision blocks included, recompute their activations in the backward."""
        return self.text.layers[0].gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, enabled: bool) -> None:
        # Not gradient_checkpointing_enable(): its name changes between transformers releases, and
        # its hook makes the embeddings' output require grad, which a frozen tower must not.
        for module in self.model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                layer = cast(DecoderLayer, module)  # or a block of the tower
                layer.gradient_checkpointing = enabled
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    @property
    def vision_frozen(self) -> bool:
        """Whether no weight of the vision tower is trained."""
        return not any(parameter.requires_grad for parameter in self.visual.parameters())

    def image_features(self, prompts: Sequence[EncodedPrompt]) -> list[Tensor]:
        """Return (visual tokens, D) per prompt, all images of the batch in one pass.

        They carry gradient to the vision tower unless it is frozen. One that was frozen when it was
        loaded keeps them: the same image in another pass, step or epoch costs nothing.
        """
        # A cache only where the tower is frozen: features of moving weights are used once.
        compute = partial(vision.image_features, self.visual)
        if self.vision_frozen and self.feature_cache is not None:
            return self.feature_cache.features(self.visual, prompts, compute)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.vision_frozen):
            return compute(prompts)

    def share_vision(self, other: "PolicyModel") -> bool:
        """Use another policy's vision tower and features if both are frozen and equal; say whether.

        The reference of a run with a frozen tower then encodes no image of its own, and the tower's
        weights are in memory once.
        """
        if not (self.vision_frozen and other.vision_frozen) or self.device != other.device:
            return False
        # Frozen now does not mean equal: the reference may come from another checkpoint.
        if not vision.are_equal(self.visual, other.visual):
            return False
        self.model.model.visual = other.visual
        self.feature_cache = other.feature_cache
        return True
