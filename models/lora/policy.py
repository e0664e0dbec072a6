"""A policy that is trained by its adapters, the policy that decodes for it, and its reference."""

from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor, nn

from models.architecture import QwenVL
from models.lora.adapters import (
    adapter_layers,
    adapter_tensors,
    add_adapters,
    inject,
    set_adapter_tensors,
    switched_off,
)
from models.lora.merged import MergedCopy, MergedPolicy
from models.lora.settings import LoraSettings
from models.policy import Policy, PromptPass
from models.prompts.prompt import EncodedPrompt
from models.vision.features import FeatureCache


class LoraPolicy(Policy):
    """A Qwen2-VL or Qwen2.5-VL whose adapters are trained, and nothing else of it."""

    def __init__(
        self, base: Policy, settings: LoraSettings, *, seed: int, freeze_vision: bool = False
    ) -> None:
        """Put adapters into a loaded policy's model, which then belongs to this one.

        Raises:
            ValueError: as `add_adapters`.
        """
        # peft's config, as adapter_config.json is to hold it
        self.lora_config = add_adapters(
            base.model, settings, seed=seed, freeze_vision=freeze_vision
        )
        super().__init__(base.model, base.processor, base.path)
        self.train()
        self.decoding_copy = MergedCopy(self)
        self.saves_merged = False  # whether a checkpoint is a whole model, adapters beside it
        if self.vision_frozen:
            self.feature_cache = base.feature_cache or FeatureCache()

    @property
    def keeps_prompt_passes(self) -> bool:
        """False: rollouts decode from merged weights, whose keys are rounded otherwise."""
        return False

    def prefill(self, *_: Any, **__: Any) -> NoReturn:
        """Raise a RuntimeError: decoding reads weight matrices, which the adapters are not in."""
        raise RuntimeError("a policy with adapters cannot decode: use what its sampler() returns")


class WithoutAdapters(Policy):
    """The frozen start model: the very modules of a trained policy, run without its adapters."""

    def __init__(self, trained: LoraPolicy) -> None:
        super().__init__(trained.model, trained.processor, trained.path)
        self._trained = (trained,)  # in a tuple: it is no part of this module
        self._layers = list(adapter_layers(trained.model).values())

    @property
    def output_weight(self) -> nn.Parameter:
        """The trained policy's."""
        return self._trained[0].output_weight

    @property
    def keeps_prompt_passes(self) -> bool:
        """False, as the trained policy's."""
        return False

    def scored_hidden(
        self,
        prompts: Sequence[EncodedPrompt],
        rows_per_prompt: Sequence[int],
        completion_ids: Tensor,
        lengths: Sequence[int],
        *,
        image_features: Sequence[Tensor] | None = None,
        prompt_pass: PromptPass | None = None,
    ) -> Tensor:
        """Return what `Policy.scored_hidden` does, (S, D), of the model without adapters."""
        # By the trained policy's own method, which is what a sharded one is entered by.
        with switched_off(self._layers):
            return self._trained[0].scored_hidden(
                prompts,
                rows_per_prompt,
                completion_ids,
                lengths,
                image_features=image_features,
                prompt_pass=prompt_pass,
            )


def put_adapters(model: QwenVL, policy: LoraPolicy) -> None:
    """Give another model of the same base this policy's adapters, as peft runs them."""
    inject(model, policy.lora_config)
    set_adapter_tensors(model, adapter_tensors(policy.model))


def with_adapters(policy: Policy) -> LoraPolicy | None:
    """Return the policy that has the adapters: this one, or the one whose merged copy this is."""
    if isinstance(policy, MergedPolicy):
        (policy,) = policy.trained
    return policy if isinstance(policy, LoraPolicy) else None
