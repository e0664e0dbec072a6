"""What is saved is a plain transformers directory: others load it and get the same logits.

Shapes: P prompt tokens, V vocabulary.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer, GenerationConfig

from models import load_policy
from models.checkpoint import tensor_file
from models.checkpoint.saving import save_policy, saved_bytes
from models.lora.policy import LoraPolicy
from models.lora.settings import LoraSettings
from tests.models.nano import FAMILIES, IDS, random_image, write_checkpoint

pytestmark = pytest.mark.model

CHECKPOINTS = [(family, tied) for family in FAMILIES for tied in (True, False)]


@pytest.fixture(params=CHECKPOINTS, ids=lambda p: f"{p[0]}-{'tied' if p[1] else 'untied'}")
def policy(request, tmp_path):
    family, tied = request.param
    return load_policy(write_checkpoint(tmp_path / "start", family, tied=tied))


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


def test_a_saved_policy_loads_everywhere_with_the_same_logits(policy, tmp_path):
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.01)  # what training does: no longer the files it came from
    prompt = policy.processor.encode("Which plane?", [random_image(84, 112)])
    before = logits(policy.model, prompt)

    save_policy(policy, tmp_path / "saved")

    theirs = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    torch.testing.assert_close(logits(theirs, prompt), before, atol=1e-5, rtol=0)
    ours = load_policy(tmp_path / "saved")
    assert torch.equal(logits(ours.model, prompt), before)
    assert torch.equal(
        ours.processor.encode("Hi").input_ids, policy.processor.encode("Hi").input_ids
    )
    assert ours.processor.end_ids == policy.processor.end_ids
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.apply_chat_template([{"role": "user", "content": []}], tokenize=False)


def test_the_weights_carry_the_hubs_names_and_a_tied_head_is_not_written(policy, tmp_path):
    save_policy(policy, tmp_path / "saved")
    written = load_file(tmp_path / "saved" / "model.safetensors")
    original = load_file(tmp_path / "start" / "model.safetensors")
    assert written.keys() == original.keys()
    assert {"visual.blocks.0.norm1.weight", "model.embed_tokens.weight"} <= written.keys()
    assert ("lm_head.weight" in written) != policy.model.config.tie_word_embeddings


def test_a_policy_whose_directory_is_gone_is_saved_whole(policy, tmp_path):
    shutil.rmtree(tmp_path / "start")
    save_policy(policy, tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    prompt = policy.processor.encode("Which plane?", [random_image(84, 112)])
    assert torch.equal(logits(again.model, prompt), logits(policy.model, prompt))


def test_a_bf16_policy_saves_and_reloads_bitwise(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / "start"), dtype="bfloat16")
    save_policy(policy, tmp_path / "saved")
    again = load_policy(tmp_path / "saved", dtype="bfloat16")
    pairs = zip(policy.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_generation_config_that_contradicts_itself_does_not_stop_a_save(tmp_path):
    """transformers refuses to write sampling parameters without do_sample; the hub has such."""
    start = write_checkpoint(tmp_path / "start")
    odd = {"do_sample": False, "top_k": 1, "temperature": 0.01, "eos_token_id": 258}
    (start / "generation_config.json").write_text(json.dumps(odd))
    save_policy(load_policy(start), tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text()) == odd


def test_the_error_of_a_directory_that_cannot_be_written_is_the_systems_own(tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / "start"))
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        save_policy(policy, tmp_path / "taken")


def test_the_file_of_weights_is_transformers_own_to_the_byte(policy, tmp_path):
    save_policy(policy, tmp_path / "ours")
    policy.model.generation_config = GenerationConfig()
    policy.model.save_pretrained(tmp_path / "theirs")
    ours, theirs = (tmp_path / whose / "model.safetensors" for whose in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("most", [100_000, 1_000])
def test_weights_in_several_files_load_everywhere(policy, tmp_path, monkeypatch, most):
    monkeypatch.setattr(tensor_file, "PART", most)
    saved = tmp_path / "saved"
    save_policy(policy, saved)
    files = {file.name: load_file(file) for file in sorted(saved.glob("*.safetensors"))}
    assert len(files) > 5 and "model.safetensors" not in files
    for name, tensors in files.items():
        assert name.endswith(f"-of-{len(files):05d}.safetensors")
        assert len(tensors) == 1 or sum(one.nbytes for one in tensors.values()) <= most
    index = json.loads((saved / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {one: name for name in files for one in files[name]}
    assert index["metadata"]["total_size"] == sum(
        one.nbytes for tensors in files.values() for one in tensors.values()
    )
    theirs = AutoModelForImageTextToText.from_pretrained(saved, dtype=torch.float32)
    ours, started = load_policy(saved).model.state_dict(), policy.model.state_dict()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, started[name]) and torch.equal(ours[name], started[name]), name


@pytest.mark.parametrize("merged", [None, False, True])
def test_how_large_the_files_will_be_is_known_without_writing_them(tmp_path, merged):
    policy = load_policy(write_checkpoint(tmp_path / "start"), dtype="bfloat16")
    if merged is not None:
        pytest.importorskip("peft")
        policy = LoraPolicy(policy, LoraSettings(2, 4.0, ("text",)), seed=0)
        policy.saves_merged = merged
    save_policy(policy, tmp_path / "saved")
    size = sum(file.stat().st_size for file in (tmp_path / "saved").rglob("*.safetensors"))
    small = [file for file in (tmp_path / "saved").glob("*") if file.suffix != ".safetensors"]
    size += sum(f.stat().st_size for f in small if f.is_file() and "config.json" not in f.name)
    assert saved_bytes(policy) <= size + 10_000 and saved_bytes(policy) > size - 20_000
    assert saved_bytes(policy) == saved_bytes(policy.sampler())
