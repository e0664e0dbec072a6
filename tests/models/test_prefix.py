"""The shared prefix gives what as many copies of image and prompt would give, gradients included.

The other side of every comparison is transformers' own model, loaded apart from ours, on single
unpadded rows with the positions it computes itself.

Shapes: N prompts, M rows, C completion tokens, V vocabulary.
"""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForImageTextToText

from models import load_policy
from models.shared import flash
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, random_image, write_checkpoint
from tests.models.shared.varlen_standin import SLOW

pytestmark = pytest.mark.model

COMPLETION_LENGTH = 6
LOGPROB_BAR = 1e-5
GRADIENT_BAR = 3e-5  # relative L2 per parameter, fp32


@pytest.fixture(scope="module", params=FAMILIES)
def setup(request, tmp_path_factory):
    """A policy, transformers' model of the same files, and prompts that differ in every way."""
    directory = write_checkpoint(tmp_path_factory.mktemp("nano") / request.param, request.param)
    policy = load_policy(directory)
    reference = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32)
    encode = policy.processor.encode
    images = [
        random_image(*size, seed=i) for i, size in enumerate([(56, 84), (168, 56), (90, 130)])
    ]
    prompts = {
        "one image": encode("Which plane is this?", images[:1]),
        "another size": encode("Is it a CT or an MRI?", images[1:2]),
        "two images": encode("What changed?", [images[2], images[0]]),
        "no image": encode("Name a modality."),
    }
    assert len({prompt.num_tokens for prompt in prompts.values()}) == len(prompts)
    return SimpleNamespace(policy=policy, reference=reference, prompts=prompts)


@pytest.fixture(params=["rectangles", "varlen"])
def way(request, monkeypatch):
    """How attention reads the groups: a CPU's way, then CUDA's with slow calls in flash's place."""
    if request.param == "varlen":
        monkeypatch.setattr(flash, "flash_for", lambda *_: SLOW)


both_ways = pytest.mark.usefixtures("way")


def random_completions(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, COMPLETION_LENGTH), generator=generator)  # (M, C)


def shared_logprobs(policy, prompts, rows_per_prompt, completion_ids, **options):
    """Log-probabilities (M, C) through the policy's shared prefix."""
    hidden = completion_hidden(policy, prompts, rows_per_prompt, completion_ids, **options)
    logprobs = torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)  # (M, C, V)
    return logprobs.gather(2, completion_ids[..., None]).squeeze(2)


def repeated_logprobs(model, image_token_id, prompts, rows_per_prompt, completion_ids):
    """The same through transformers' forward, one row at a time, every row with its own prompt."""
    owners = [p for p, n in zip(prompts, rows_per_prompt, strict=True) for _ in range(n)]
    rows = []
    for prompt, completion in zip(owners, completion_ids, strict=True):
        ids = torch.cat([prompt.input_ids, completion])[None]
        vision = {}
        if len(prompt.image_grid_thw):
            vision["pixel_values"] = prompt.pixel_values
            vision["image_grid_thw"] = prompt.image_grid_thw
            vision["mm_token_type_ids"] = (ids == image_token_id).int()
        model.model.rope_deltas = None  # transformers' memory of the last call
        logits = model(input_ids=ids, use_cache=False, **vision).logits[0, :-1]
        logprobs = torch.log_softmax(logits[prompt.num_tokens - 1 :], dim=-1)  # (C, V)
        rows.append(logprobs.gather(1, completion[:, None]).squeeze(1))
    return torch.stack(rows)


def gradients(model, logprobs):
    """Gradient of a fixed random weighting of the log-probs, by parameter name."""
    weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(9))
    model.zero_grad(set_to_none=True)
    (logprobs * weights).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_gradients_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    errors = {n: ((ours[n] - theirs[n]).norm() / theirs[n].norm()).item() for n in theirs}
    assert all(gradient.norm() > 0 for gradient in theirs.values())
    worst = max(errors, key=errors.get)
    assert errors[worst] < GRADIENT_BAR, (worst, errors[worst])


BATCHES = {
    "equal prompts, equal rows": (["one image", "one image"], [3, 3]),
    "all kinds, unequal rows": (
        ["two images", "no image", "one image", "another size"],
        [2, 1, 3, 2],
    ),
    "different lengths, equal rows": (["another size", "one image", "no image"], [2, 2, 2]),
    "equal lengths, unequal rows": (["two images", "two images"], [1, 4]),
    "one row": (["another size"], [1]),
}


@both_ways
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("batch", BATCHES)
def test_logprobs_and_every_gradient_equal_those_of_repeated_prompts(setup, batch, checkpointing):
    names, rows_per_prompt = BATCHES[batch]
    prompts = [setup.prompts[name] for name in names]
    completion_ids = random_completions(sum(rows_per_prompt))
    policy = setup.policy
    assert policy.training  # transformers checkpoints in train mode only
    policy.gradient_checkpointing = checkpointing

    ours = shared_logprobs(policy, prompts, rows_per_prompt, completion_ids)
    theirs = repeated_logprobs(
        setup.reference, policy.processor.image_token_id, prompts, rows_per_prompt, completion_ids
    )

    torch.testing.assert_close(ours, theirs, atol=LOGPROB_BAR, rtol=0)
    assert_gradients_equal(gradients(policy.model, ours), gradients(setup.reference, theirs))


@both_ways
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("lengths", [[6, 1, 3, 6, 2, 4], [1, 1, 1, 2, 1, 1], [5, 2, 2, 2, 2, 2]])
def test_completions_of_different_length_give_the_same_without_their_padding(
    setup, lengths, checkpointing
):
    policy = setup.policy
    prompts, rows_per_prompt = [setup.prompts[n] for n in ("two images", "no image")], [2, 4]
    completion_ids = random_completions(6)[:, : max(lengths)]
    policy.gradient_checkpointing = checkpointing
    fed = []
    hook = policy.text.layers[0].mlp.register_forward_hook(
        lambda _module, inputs, _output: fed.append(inputs[0].shape[:-1].numel())
    )
    hidden = policy.scored_hidden(prompts, rows_per_prompt, completion_ids, lengths)  # (S, D)
    hook.remove()
    assert fed == [sum(p.num_tokens for p in prompts) + sum(lengths) - len(lengths)]
    targets = torch.cat([row[:n] for row, n in zip(completion_ids, lengths, strict=True)])
    log_p = torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)  # (S, V)
    ours = log_p.gather(1, targets[:, None]).squeeze(1)

    token = policy.processor.image_token_id
    theirs = repeated_logprobs(setup.reference, token, prompts, rows_per_prompt, completion_ids)
    theirs = torch.cat([row[:n] for row, n in zip(theirs, lengths, strict=True)])
    torch.testing.assert_close(ours, theirs, atol=LOGPROB_BAR, rtol=0)
    assert_gradients_equal(gradients(policy.model, ours), gradients(setup.reference, theirs))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_checkpointing_recomputes_text_layers_and_vision_blocks(setup, checkpointing):
    policy, prompts = setup.policy, [setup.prompts["one image"]]
    policy.gradient_checkpointing = checkpointing
    calls = {"text": 0, "vision": 0}

    def count(kind):
        def hook(*_):
            calls[kind] += 1

        return hook

    handles = [
        policy.text.layers[0].input_layernorm.register_forward_hook(count("text")),
        policy.visual.blocks[0].norm1.register_forward_hook(count("vision")),
    ]
    shared_logprobs(policy, prompts, [2], random_completions(2)).sum().backward()
    for handle in handles:
        handle.remove()

    assert calls == dict.fromkeys(calls, 2 if checkpointing else 1)


@both_ways
def test_a_row_does_not_see_what_follows_or_stands_beside_it(setup):
    prompts = [setup.prompts["one image"], setup.prompts["no image"]]
    completion_ids = random_completions(4)
    before = shared_logprobs(setup.policy, prompts, [2, 2], completion_ids)

    disturbed = completion_ids.clone()
    disturbed[0, 3:] = setup.policy.processor.pad_id  # padding on the right of row 0
    disturbed[1] = 7  # its sibling
    after = shared_logprobs(setup.policy, prompts, [2, 2], disturbed)

    torch.testing.assert_close(after[0, :3], before[0, :3], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[2:], before[2:], atol=1e-6, rtol=0)
    assert not torch.allclose(after[0, 4:], before[0, 4:], atol=1e-3)


@both_ways
def test_a_prompt_in_a_mixed_batch_gives_what_it_gives_alone(setup):
    prompts = list(setup.prompts.values())
    completion_ids = random_completions(len(prompts))
    together = shared_logprobs(setup.policy, prompts, [1] * len(prompts), completion_ids)
    for row, prompt in enumerate(prompts):
        alone = shared_logprobs(setup.policy, [prompt], [1], completion_ids[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=LOGPROB_BAR, rtol=0)


@both_ways
def test_completions_of_one_token_need_the_prompt_alone(setup):
    prompts, ids = [setup.prompts["one image"]], random_completions(2)[:, :1]
    ours = shared_logprobs(setup.policy, prompts, [2], ids)
    token = setup.policy.processor.image_token_id
    theirs = repeated_logprobs(setup.reference, token, prompts, [2], ids)
    torch.testing.assert_close(ours, theirs, atol=LOGPROB_BAR, rtol=0)


def test_given_image_features_are_used_and_get_the_gradient(setup):
    policy = setup.policy
    prompts = [setup.prompts["two images"], setup.prompts["no image"], setup.prompts["one image"]]
    completion_ids = random_completions(3)
    features = [f.detach().requires_grad_() for f in policy.image_features(prompts)]
    assert [len(f) for f in features] == [len(p.pixel_values) // 4 for p in prompts]

    given = shared_logprobs(policy, prompts, [1, 1, 1], completion_ids, image_features=features)
    computed = shared_logprobs(policy, prompts, [1, 1, 1], completion_ids)
    torch.testing.assert_close(given, computed, atol=1e-6, rtol=0)

    given[0].sum().backward()
    assert features[0].grad.norm() > 0
    assert features[2].grad.norm() == 0  # another row's image
    blank = [torch.zeros_like(f) for f in features]
    blanked = shared_logprobs(policy, prompts, [1, 1, 1], completion_ids, image_features=blank)
    assert (blanked[0] - computed[0]).abs().max() > 1e-3


def test_a_frozen_tower_gets_no_gradient_but_given_features_do(setup):
    policy, prompts, ids = setup.policy, [setup.prompts["one image"]], random_completions(2)
    policy.zero_grad(set_to_none=True)
    policy.visual.requires_grad_(False)
    try:
        assert policy.vision_frozen
        logprobs = shared_logprobs(policy, prompts, [2], ids)
        logprobs.sum().backward()
        assert all(parameter.grad is None for parameter in policy.visual.parameters())
        assert policy.text.layers[0].mlp.up_proj.weight.grad.norm() > 0

        features = [f.requires_grad_() for f in policy.image_features(prompts)]
        shared_logprobs(policy, prompts, [2], ids, image_features=features).sum().backward()
        assert features[0].grad.norm() > 0
    finally:
        policy.visual.requires_grad_(True)


def test_the_attention_dropout_of_a_checkpoint_never_acts(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / "dropout", changes={"attention_dropout": 0.5}))
    assert policy.training and policy.text.layers[0].self_attn.attention_dropout == 0.5
    prompts, ids = [policy.processor.encode("Hi", [random_image(56, 56)])], random_completions(2)
    first, second = (shared_logprobs(policy, prompts, [2], ids) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("rows_per_prompt", "shape"), [([2], (3, 4)), ([1, 1], (2, 4)), ([2], (2, 0))]
)
def test_rows_that_do_not_fit_the_prompts_are_refused(setup, rows_per_prompt, shape):
    prompts = [setup.prompts["one image"]]
    ids = torch.zeros(shape, dtype=torch.int64)
    with pytest.raises(ValueError, match="completion_ids has shape"):
        completion_hidden(setup.policy, prompts, rows_per_prompt, ids)


@pytest.mark.parametrize("lengths", [[1, 0], [1, 5], [1]])
def test_lengths_that_do_not_fit_the_rows_are_refused(setup, lengths):
    prompts, ids = [setup.prompts["one image"]], torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"lengths \[1, .\] must lie|one row per completion"):
        setup.policy.scored_hidden(prompts, [2], ids, lengths)
