"""A policy whose weights are spread over processes: each holds some rows of every tensor.

PyTorch's FSDP2 gathers the weights of a layer when it is called and frees them afterwards; its
hooks stand around calls of the layers, and around the methods of the policy that are registered as
its forwards (models/sharding/shard.py). Inside these the policy's weights are plain tensors in the
working dtype; outside they are float32 DTensors of which this process has its rows.

Every process calls these methods equally often: what each gathers, all give.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule

from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from models.sharding.filler import blank_image
from models.shared.attention import GroupReader
from models.shared.groups import PackedGroups
from models.shared.layers import Rotary


class ShardedPolicy(Policy):
    """A policy that is trained, or scores, on several processes; its `sampler` decodes.

    `models.sharding.shard.shard` makes one of a plain policy: none is ever constructed.
    """

    mesh: DeviceMesh  # set by `shard`, as the next
    working_dtype: torch.dtype
    adapters: list[nn.Parameter]  # whole in every process; where there are any, all that is trained
    _has_run_images = False  # with gradient, since `settle_gradients`

    @property
    def device(self) -> torch.device:
        """Where it is run; the shards may lie elsewhere."""
        return device_of(self.mesh)

    @property
    def dtype(self) -> torch.dtype:
        """That in which weights are gathered and everything is computed."""
        return self.working_dtype

    @property
    def calls_whole_layers(self) -> bool:
        """True: a layer's weights are gathered by its call."""
        return True

    @property
    def keeps_prompt_passes(self) -> bool:
        """False: rollouts are the sampler's, whose graph is another."""
        return False

    def prefill(self, *_: Any, **__: Any) -> NoReturn:
        """Raise a RuntimeError: processes would gather weights for as long as any of them decodes.

        Their numbers of tokens differ.
        """
        raise RuntimeError("a sharded policy cannot decode: call sampler() and use what it returns")

    @property
    def gradient_scale(self) -> int:
        """What a loss is multiplied by: FSDP averages over processes what is to be summed."""
        return 1 if self.adapters else self.mesh.size()

    def free_gathered(self) -> None:
        """Free all that is gathered: the next pass gathers what the weights are then.

        FSDP's own `reshard`, which this policy has too, frees what the policy gathers itself.
        """
        for module in sharded_modules(self):
            module.reshard()

    def weights_moved(self) -> None:
        """Note that weights have been written: nothing gathered before is used any more."""
        self.free_gathered()
        super().weights_moved()

    @torch.no_grad()
    def settle_gradients(self) -> None:
        """Make gradients what one process has of the same groups; call it before they are used.

        A tower that has seen no real image in any process has no gradient, which AdamW tells from
        one that is zero: its weights and moments stay as they are.
        """
        # Weights that a pass without gradient has left gathered are not those that have gradients.
        self.free_gathered()
        has_any = any(weight.grad is not None for weight in self.adapters)
        facts = torch.tensor([self._has_run_images, has_any], dtype=torch.float32)
        self._has_run_images = False
        seen, some = self._add_up(facts.to(self.device)).tolist()
        if some:
            self._add_up_adapters()
        if not self.vision_frozen and not seen:
            for weight in self.visual.parameters():
                weight.grad = None

    def _add_up_adapters(self) -> None:
        """Make each adapter's gradient the sum over all processes: all of them in one piece."""
        for weight in self.adapters:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        gradients = [weight.grad for weight in self.adapters if weight.grad is not None]
        total = self._add_up(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(
            gradients, total.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def _add_up(self, numbers: Tensor) -> Tensor:
        """Return the numbers, which now are the sums over all processes."""
        dist.all_reduce(numbers, group=self.mesh.get_group())
        return numbers

    def _layer_inputs(
        self,
        prompts: Sequence[EncodedPrompt],
        groups: PackedGroups,
        completion_ids: Tensor,
        image_features: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Rotary, GroupReader]:
        """Return what the layers take; the tower is run in any case where it is sharded."""
        is_given = image_features is not None
        # Not by `self`: that method is registered, and would gather and free within a pass.
        features = image_features if is_given else super().image_features(prompts)
        hidden, rotary, reader = super()._layer_inputs(prompts, groups, completion_ids, features)
        if not (is_given or self.vision_frozen):
            if any(len(prompt.image_grid_thw) for prompt in prompts):
                self._has_run_images |= torch.is_grad_enabled()
            else:
                # Another process may have images: this one joins in gathering, and in adding up.
                (seen,) = super().image_features([blank_image(self)])
                hidden = hidden + 0 * seen.sum()
        return hidden, rotary, reader


def sharded_modules(policy: Policy) -> Iterator[FSDPModule]:
    """Yield the policy and those of its modules that gather their weights by themselves."""
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            yield module


def device_of(mesh: DeviceMesh) -> torch.device:
    """Return this process's device of a mesh."""
    if mesh.device_type == "cpu":
        return torch.device("cpu")
    return torch.device(
        mesh.device_type, torch.get_device_module(mesh.device_type).current_device()
    )
