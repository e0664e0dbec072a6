"""Spread a policy's weights over the processes of a mesh, by PyTorch's FSDP2."""

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from models.policy import Policy
from models.sharding.gathered import GatheredCopy, empty_copy
from models.sharding.policy import ShardedPolicy, device_of

FORWARDS = ("scored_hidden", "run_prompts", "image_features")  # what gathers the root's weights


def shard(
    policy: Policy,
    mesh: DeviceMesh,
    *,
    reshard_after_forward: bool = True,
    decodes: bool = True,
    offload: bool = False,
) -> ShardedPolicy:
    """Return the policy, which is sharded over the mesh from now on.

    Every weight that is trained becomes the float32 master of itself, cut into one run of rows per
    process, and is gathered in the dtype that it had; others are cut as they are. One group of
    weights per decoder layer, and per vision block where the tower is trained, is gathered at a
    time; embeddings, norm, head and merger are one more, gathered for the whole pass.

    A frozen tower stays whole in every process: whether it is run depends on the features that a
    process has kept, so nothing in it may wait for others. Adapters, which are small, stay whole
    too, and in float32: their gradients are added up in one piece.

    Best loaded on the CPU: the device then holds, beside the shards, no more than one group whole.

    Args:
        policy: all processes have loaded the same one.
        mesh: of one dimension; its device type is where the policy is run.
        reshard_after_forward: free a layer's weights after its forward and gather them again for
            its backward; False keeps them in between, all layers at once.
        decodes: whether `sampler` will be asked for.
        offload: keep the shards in CPU memory, and so their gradients and an optimizer's moments;
            a layer's weights are then on the device only while they are gathered.
    """
    device, dtype = device_of(mesh), policy.dtype
    blocks: list[nn.Module] = [*cast(Iterable[nn.Module], policy.text.layers)]
    adapters = _adapters(policy)
    whole = set(adapters)
    if policy.vision_frozen:
        policy.visual.to(device)
        whole |= set(policy.visual.parameters())
    else:
        blocks += cast(Iterable[nn.Module], policy.visual.blocks)
    for adapter in adapters:
        adapter.data = adapter.data.to(device)
    plain = empty_copy(policy, device, whole) if decodes else None

    sharded = _as_sharded(policy)
    sharded.mesh, sharded.working_dtype, sharded.adapters = mesh, dtype, adapters
    options: Any = {
        "mesh": mesh,
        # Tensors are cast here, and not by FSDP: rotary tables stay float32.
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
        ),
        "ignored_params": whole,
    }
    if offload:
        options["offload_policy"] = CPUOffloadPolicy(pin_memory=device.type == "cuda")
    place = torch.device("cpu") if offload else device
    for block in blocks:
        _make_masters(block, place)
        fully_shard(block, reshard_after_forward=reshard_after_forward, **options)
    _make_masters(sharded, place)
    # The head is read after the pass, by the loss: the root's weights stay until the backward.
    fully_shard(sharded, reshard_after_forward=False, **options)
    for name in FORWARDS:
        register_fsdp_forward_method(sharded, name)
    if plain is not None:
        sharded.decoding_copy = GatheredCopy(sharded, plain)
    return sharded


def mesh_of_all(device: torch.device) -> DeviceMesh:
    """Return the mesh of all processes, each on its own device of this kind."""
    return init_device_mesh(device.type, (dist.get_world_size(),))


def _adapters(policy: Policy) -> list[nn.Parameter]:
    """Return the weights that are trained beside frozen ones of the text: none in full training.

    In the model's order, which is the same in all processes.
    """
    if all(weight.requires_grad for weight in policy.text.parameters()):
        return []
    return [weight for weight in policy.parameters() if weight.requires_grad]


def _as_sharded(policy: Policy) -> ShardedPolicy:
    """Return the very policy, its class now that of a sharded one of its kind."""
    # As FSDP does with modules: what the policy is otherwise, one with adapters say, it stays.
    kind = type(policy)
    sharded = type(f"Sharded{kind.__name__}", (ShardedPolicy, kind), {})
    policy.__class__ = ShardedPolicy if kind is Policy else sharded
    return cast(ShardedPolicy, policy)


def _make_masters(module: nn.Module, device: torch.device) -> None:
    """Make the trained weights of a module float32, those that are not yet sharded."""
    for weight in module.parameters():
        if weight.requires_grad and not hasattr(weight, "device_mesh"):
            weight.data = weight.data.to(device).float()
