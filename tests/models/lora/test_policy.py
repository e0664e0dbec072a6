"""A policy with adapters: its gradients, its reference, the merged copy that decodes for it.

The bars in float32 are relative: 1e-5 is what sums in another order make of these sizes.
"""

import pytest
import torch

from models import load_policy
from models.lora.adapters import adapter_layers, matrix, merged_weight
from models.lora.policy import LoraPolicy, WithoutAdapters
from models.lora.settings import LoraSettings
from tests.models.decode.decode_cases import decoded, random_ids, teacher_forced, unlike_prompts
from tests.models.lora.adapted import ALL, ROWS, TEXT, adapted, log_p, loss, move
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model

BAR = 1e-5


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("nano") / request.param, request.param)


def merged_by_hand(policy, directory):
    """Return a plain policy that holds W + s B A, every weight of it trained."""
    plain = load_policy(directory)
    for name, layer in adapter_layers(policy.model).items():
        first, second = (matrix(layer, kind).detach().double() for kind in ("lora_A", "lora_B"))
        weight = plain.model.get_parameter(f"{name}.weight")
        with torch.no_grad():
            weight.copy_((weight.double() + 12 / 4 * second @ first).float())
    return plain


def far(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


def test_gradients_are_those_of_the_dense_weight_taken_apart(directory):
    policy = adapted(directory)
    plain = merged_by_hand(policy, directory)
    loss(policy).backward()
    loss(plain).backward()
    layers = adapter_layers(policy.model)
    assert len(layers) > 20
    for name, layer in layers.items():
        dense = plain.model.get_parameter(f"{name}.weight").grad  # dL/dW
        first, second = (matrix(layer, kind) for kind in ("lora_A", "lora_B"))
        assert far(first.grad, 12 / 4 * second.T @ dense) < BAR, name
        assert far(second.grad, 12 / 4 * dense @ first.T) < BAR, name


def test_nothing_but_adapters_is_trained(directory):
    policy = adapted(directory, learned=False)
    trained = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    assert {name.split(".")[-3] for name in trained} == {"lora_A", "lora_B"}
    loss(policy).backward()
    frozen = [weight for name, weight in policy.named_parameters() if name not in trained]
    assert frozen and all(weight.grad is None for weight in frozen)


@pytest.mark.parametrize("settings", [TEXT, ALL])
def test_it_begins_as_the_model_without_adapters_to_the_bit(directory, settings):
    policy = adapted(directory, settings, learned=False)
    base = load_policy(directory, freeze_vision=settings == TEXT)  # features in a pass of their own
    with torch.no_grad():
        wanted = log_p(base)
        assert torch.equal(log_p(policy), wanted)
        assert torch.equal(log_p(WithoutAdapters(policy)), wanted)
        assert torch.equal(log_p(policy.sampler()), wanted)


def test_the_reference_stays_what_it_was_whatever_the_adapters_learn(directory):
    policy = adapted(directory, learned=False)
    reference = WithoutAdapters(policy)
    with torch.no_grad():
        before = log_p(reference)
        move(policy)
        assert torch.equal(log_p(reference), before)
        assert (log_p(policy) - before).abs().max() > 0.1
    loss(policy).backward()  # its adapters are on again, and have gradients
    assert all(matrix(m, "lora_B").grad is not None for m in adapter_layers(policy.model).values())


def test_adapters_are_on_again_after_an_error_in_the_reference(directory):
    policy = adapted(directory)
    with torch.no_grad():
        before = log_p(policy)
        with pytest.raises(ValueError, match="rows"):
            WithoutAdapters(policy).scored_hidden([], [1], torch.zeros(1, 1), [1])
        assert torch.equal(log_p(policy), before)


def test_the_merged_copy_computes_what_the_adapters_do(directory):
    policy = adapted(directory)
    prompts, ids = unlike_prompts(policy), random_ids(sum(ROWS), 7)
    with torch.no_grad():
        wanted = log_p(policy)
        assert far(log_p(policy.sampler()), wanted) < BAR
        whole = teacher_forced(policy, prompts, ROWS, ids)
    for token, (_, found) in enumerate(decoded(policy.sampler(), prompts, ROWS, ids)):
        assert (found - whole[:, token]).abs().max() < 1e-4, token


def test_only_adapted_matrices_exist_twice_and_stay_at_their_addresses(directory):
    policy = adapted(directory, LoraSettings(4, 12, ("q_proj", "mlp.0")))
    sampler = policy.sampler()
    theirs, ours = dict(sampler.named_parameters()), dict(policy.named_parameters())
    own = {name for name, weight in theirs.items() if all(weight is not w for w in ours.values())}
    layers = adapter_layers(policy.model)
    assert own == {f"model.{name}.weight" for name in layers}
    places = [weight.data_ptr() for weight in theirs.values()]
    before = log_p(sampler)
    move(policy, seed=9)
    assert policy.sampler() is sampler
    assert [weight.data_ptr() for weight in theirs.values()] == places
    assert (log_p(sampler) - before).abs().max() > 0.01
    policy.decoding_copy.free()
    assert torch.equal(log_p(policy.sampler()), log_p(sampler))


def test_graphs_of_the_sampler_serve_the_rollout_after_an_update(directory):
    policy = adapted(directory)
    policy.decode_graphs = "stand-in"
    prompts, ids = unlike_prompts(policy), random_ids(sum(ROWS), 7)
    decoded(policy.sampler(), prompts, ROWS, ids)
    held = policy.sampler()._decoder
    move(policy, seed=9)
    found = decoded(policy.sampler(), prompts, ROWS, ids)
    assert held is not None and policy.sampler()._decoder is held
    wanted = teacher_forced(policy, prompts, ROWS, ids)
    assert (found[-1][1] - wanted[:, -1]).abs().max() < 1e-4


def test_gradient_checkpointing_changes_no_gradient(directory):
    found = []
    for checkpointing in (False, True):
        policy = adapted(directory, gradient_checkpointing=checkpointing)
        assert policy.gradient_checkpointing is checkpointing
        loss(policy).backward()
        found.append([w.grad for w in policy.parameters() if w.requires_grad])
    assert all(far(*pair) < BAR for pair in zip(*found, strict=True))


def test_it_does_not_decode_itself(directory):
    policy = adapted(directory)
    assert not policy.keeps_prompt_passes
    with pytest.raises(RuntimeError, match=r"use what its sampler\(\) returns"):
        policy.prefill(unlike_prompts(policy), ROWS, 3)


def test_in_bfloat16_adapters_are_float32_and_merging_rounds_once(directory):
    policy = adapted(directory, dtype="bfloat16")
    for name, layer in adapter_layers(policy.model).items():
        assert layer.base_layer.weight.dtype == torch.bfloat16
        first, second = (matrix(layer, kind) for kind in ("lora_A", "lora_B"))
        assert first.dtype == second.dtype == torch.float32
        exact = layer.base_layer.weight.double() + 3 * second.double() @ first.double()
        merged = policy.sampler().model.get_parameter(f"{name}.weight")
        assert merged.dtype == torch.bfloat16
        # the nearest number, but where float32's own rounding decides between two
        assert (merged == exact.bfloat16()).float().mean() > 0.999, name
    assert log_p(policy).isfinite().all()
    assert (log_p(policy.sampler()) - log_p(policy)).abs().mean() < 0.05  # rounding alone


def test_the_first_adapters_hang_on_the_seed_alone(directory):
    def first(seed, **given):
        policy = LoraPolicy(load_policy(directory, **given), TEXT, seed=seed)
        return [matrix(m, "lora_A").detach() for m in adapter_layers(policy.model).values()]

    torch.manual_seed(0)
    state = torch.get_rng_state()
    drawn = first(3)
    assert torch.equal(torch.get_rng_state(), state)  # a reward may draw from it
    torch.manual_seed(1)
    again = first(3, dtype="bfloat16")  # the same numbers, not those rounded
    assert all(torch.equal(*pair) for pair in zip(drawn, again, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(drawn, first(4), strict=True))
    bound = drawn[0].shape[1] ** -0.5  # as nn.Linear draws its weight
    assert 0.8 * bound < drawn[0].abs().max() <= bound


def test_a_tower_without_adapters_keeps_its_features(directory):
    policy = adapted(directory, TEXT)
    assert policy.vision_frozen
    log_p(policy)
    held = set(policy.feature_cache._features)
    assert held and policy.sampler().feature_cache is policy.feature_cache
    log_p(policy.sampler())
    assert set(policy.feature_cache._features) == held  # the sampler finds those, too
    assert not adapted(directory, ALL).vision_frozen


def test_merging_is_the_base_alone_where_nothing_was_learned(directory):
    policy = adapted(directory, learned=False)
    for layer in adapter_layers(policy.model).values():
        assert torch.equal(merged_weight(layer), layer.base_layer.weight)
