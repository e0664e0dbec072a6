"""An offloaded model computes what it did, from weights that stay where they were."""

import pytest
import torch

from models import load_policy
from models.checkpoint.offload import offload_layers
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_offloading_changes_no_number_and_returns_the_weights(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / family, family))
    prompts = [policy.processor.encode("Which plane?", [random_image(84, 56)])]
    ids = torch.arange(12).view(3, 4)
    before = completion_hidden(policy, prompts, [3], ids)

    assert offload_layers(policy, "cpu") is policy
    stored = {name: p.data_ptr() for name, p in policy.named_parameters()}
    after = completion_hidden(policy, prompts, [3], ids)

    # lent layers are called whole, others only where they are read: the same but for rounding
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert {name: p.data_ptr() for name, p in policy.named_parameters()} == stored
    assert not any(p.requires_grad for p in policy.parameters())


def test_an_unknown_device_is_refused(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / "nano"))
    with pytest.raises(ValueError, match="device 'tpu' is not there: use one of cpu"):
        offload_layers(policy, "tpu")


def test_a_policy_on_another_device_than_the_cpu_is_not_offloaded_to_it(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / "nano")).to("meta")  # a device anybody has
    with pytest.raises(
        ValueError, match="passes to run on cpu, but the policy is on meta: load it"
    ):
        offload_layers(policy, "cpu")


@torch.no_grad()
def test_a_failing_forward_still_returns_the_weights(tmp_path):
    policy = offload_layers(load_policy(write_checkpoint(tmp_path / "nano")), "cpu")
    layer = policy.text.layers[0]
    stored = {p.data_ptr() for p in layer.parameters()}
    with pytest.raises(TypeError):
        layer()
    assert {p.data_ptr() for p in layer.parameters()} == stored


def test_an_offloaded_policy_does_not_decode(tmp_path):
    policy = offload_layers(load_policy(write_checkpoint(tmp_path / "nano")), "cpu")
    prompts = [policy.processor.encode("Hi")]
    with pytest.raises(RuntimeError, match="offloaded policy cannot decode"):
        policy.prefill(prompts, [1], 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to copy layers to")
@torch.no_grad()
def test_layers_are_on_the_gpu_only_while_they_run(tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    offloaded = offload_layers(load_policy(directory), "cuda")
    whole = load_policy(directory, dtype="float32", device="cuda")
    prompts = [whole.processor.encode("Which plane?", [random_image(84, 56)])]
    layer, seen = offloaded.text.layers[0], []
    layer.mlp.register_forward_hook(lambda module, *_: seen.append(module.up_proj.weight.device))
    ids = torch.arange(12).view(3, 4)
    ours = completion_hidden(offloaded, prompts, [3], ids)
    torch.testing.assert_close(ours, completion_hidden(whole, prompts, [3], ids))
    assert seen[0].type == "cuda" and layer.mlp.up_proj.weight.device.type == "cpu"
