"""Output head and input embedding: every layout of flags and tensors is kept, or refused.

What decides is the file, not the flag: a head that is there is used and saved, whatever config.json
says about tying.

Shapes: P prompt tokens, V vocabulary.
"""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.trainer_state import load_trainer_state
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint.saving import save_policy
from tests.models.nano import FAMILIES, IDS, VOCAB_SIZE, random_image, write_checkpoint

pytestmark = pytest.mark.model

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
FLAGS = ("absent", False, True)
TENSORS = ("head of its own", "equal head", "no head", "no embedding")
NAMES = ("first release's", "transformers 5's")


@torch.no_grad()
def logits(model, prompt):
    ids = prompt.input_ids[None]
    model.model.rope_deltas = None
    return model(
        input_ids=ids,
        pixel_values=prompt.pixel_values,
        image_grid_thw=prompt.image_grid_thw,
        mm_token_type_ids=(ids == IDS["<|image_pad|>"]).int(),
        use_cache=False,
    ).logits[0]  # (P, V)


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """A checkpoint of each family, and its weights, tied."""
    folder = tmp_path_factory.mktemp("tying")
    return {family: write_checkpoint(folder / family, family, nested=True) for family in FAMILIES}


def write_layout(start, directory, *, flags=(True, "absent"), tensors, names=NAMES[0], shards=1):
    """Copy a checkpoint with the flags, tensors and names asked for; return it."""
    directory.mkdir(parents=True)
    for file in start.iterdir():
        if file.suffix != ".safetensors":
            (directory / file.name).write_bytes(file.read_bytes())
    config = json.loads((start / "config.json").read_text())
    for part, flag in zip((config, config["text_config"]), flags, strict=True):
        part.pop("tie_word_embeddings", None)
        if flag != "absent":
            part["tie_word_embeddings"] = flag
    (directory / "config.json").write_text(json.dumps(config))
    weights = load_file(start / "model.safetensors")
    if tensors == "head of its own":
        torch.manual_seed(3)
        weights[HEAD] = torch.randn(VOCAB_SIZE, 64)
    elif tensors == "equal head":
        weights[HEAD] = weights[EMBEDDING].clone()
    elif tensors == "no embedding":
        weights[HEAD] = weights.pop(EMBEDDING)
    if names == NAMES[1]:
        weights = {_new_name(name): weight for name, weight in weights.items()}
    _write_weights(directory, weights, shards)
    return directory


def _new_name(name):
    if name.startswith("visual."):
        return f"model.{name}"
    return name.replace("model.", "model.language_model.", 1)


def _write_weights(directory, weights, shards):
    if shards == 1:
        save_file(weights, directory / "model.safetensors", {"format": "pt"})
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(sorted(weights.items())[shard::shards])
        save_file(part, directory / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def move(policy):
    """Change every weight, the head otherwise than the embedding: what training does."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("tensors", TENSORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_answers_as_what_was_trained(family, tensors, names, starts, tmp_path):
    for number, flags in enumerate(itertools.product(FLAGS, FLAGS)):
        start = write_layout(
            starts[family], tmp_path / f"start-{number}", flags=flags, tensors=tensors, names=names
        )
        tied_by_flag = True in flags
        if tensors in ("no head", "no embedding") and not tied_by_flag:
            missing = "lm_head" if tensors == "no head" else "embed_tokens"
            with pytest.raises(ValueError, match=f"missing from the weights.*{missing}"):
                load_policy(start)
            continue
        policy = load_policy(start)
        weights = load_file(start / "model.safetensors")
        head = weights.get(HEAD, weights.get(EMBEDDING, weights.get(_new_name(EMBEDDING))))
        assert torch.equal(policy.output_weight, head), flags
        move(policy)
        prompt = policy.processor.encode("Which plane?", [random_image(84, 112)])
        before = logits(policy.model, prompt)

        save_policy(policy, tmp_path / f"saved-{number}")

        saved = tmp_path / f"saved-{number}"
        assert torch.equal(logits(load_policy(saved).model, prompt), before), flags
        theirs = AutoModelForImageTextToText.from_pretrained(saved, dtype=torch.float32)
        torch.testing.assert_close(logits(theirs, prompt), before, atol=1e-4, rtol=0)
        tied = policy.output_weight is policy.text.embed_tokens.weight
        written = json.loads((saved / "config.json").read_text())
        assert written["tie_word_embeddings"] is tied, flags
        assert written["text_config"].get("tie_word_embeddings", tied) is tied, flags
        assert (HEAD in load_file(saved / "model.safetensors")) is not tied


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_on_a_head_of_its_own_goes_on_where_it_stopped(dtype, starts, tmp_path):
    start = write_layout(
        starts["qwen2_vl"], tmp_path / "start", tensors="head of its own", shards=3
    )
    policy = load_policy(start, dtype=dtype, freeze_vision=True)
    optimizer = PolicyOptimizer(policy, GRPOConfig(learning_rate=0.01), total_steps=4)
    _one_update(policy, optimizer)
    card = {"mode": "think"}
    place = save_checkpoint(tmp_path, 1, policy, optimizer, state={}, card=card, keep=1)
    again = load_policy(place, dtype=dtype, freeze_vision=True)
    other = PolicyOptimizer(again, GRPOConfig(learning_rate=0.01), total_steps=4)
    assert load_trainer_state(place, other)["step"] == 1
    for one, its_optimizer in ((policy, optimizer), (again, other)):
        _one_update(one, its_optimizer)
    ours, theirs = policy.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(again.output_weight, again.text.embed_tokens.weight)


def _one_update(policy, optimizer):
    prompt = policy.processor.encode("Which plane?", [random_image(56, 56)])
    optimizer.start_step(0)
    optimizer.zero_grad()
    ids = torch.tensor([[70, 71, 72]])
    hidden = policy.scored_hidden([prompt], [1], ids, [3])
    (hidden @ policy.output_weight.T).float().square().mean().backward()
    optimizer.step(1.0)


def test_the_reference_of_such_a_checkpoint_is_its_start(starts, tmp_path):
    start = write_layout(starts["qwen2_vl"], tmp_path / "start", tensors="head of its own")
    policy, reference = load_policy(start), load_policy(start)
    pairs = zip(policy.state_dict().values(), reference.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert reference.output_weight is not reference.text.embed_tokens.weight


def test_a_head_under_another_name_is_no_spare_tensor(starts, tmp_path):
    start = write_layout(starts["qwen2_vl"], tmp_path / "start", tensors="no head")
    weights = load_file(start / "model.safetensors")
    weights["language_model.lm_head.weight"] = torch.randn(VOCAB_SIZE, 64)
    save_file(weights, start / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"language_model\.lm_head\.weight.* an output head"):
        load_policy(start)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(value, starts, tmp_path):
    start = write_layout(starts["qwen2_vl"], tmp_path / "start", tensors="head of its own")
    weights = load_file(start / "model.safetensors")
    weights[HEAD][5, 3] = value
    save_file(weights, start / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"1 tensors .* NaN or inf .* lm_head\.weight in .*: fetch"
    ):
        load_policy(start)
