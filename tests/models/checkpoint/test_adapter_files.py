"""Adapters on disk: in peft's format, loaded by peft, transformers and us with the same logits."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from models import load_policy
from models.checkpoint.adapter_files import (
    BASE_WEIGHTS,
    load_adapters,
    save_adapters,
    weights_checksum,
)
from models.checkpoint.merge import main as merge
from models.checkpoint.saving import save_policy
from models.lora.adapters import adapter_tensors
from models.lora.settings import LoraSettings
from models.named_model import check_named
from tests.models.lora.adapted import adapted, log_p, loss
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model

# W x + s B (A x) against (W + s B A) x in float32: other products in other orders
BAR = 2e-4


@pytest.fixture(scope="module", params=FAMILIES)
def base(request, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("nano") / request.param, request.param)


@pytest.fixture
def qwen2(tmp_path):
    return write_checkpoint(tmp_path / "base")


def saved(policy, directory) -> Path:
    save_policy(policy, directory)
    return directory


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[70, 71, 72, 250, 3]])).logits


def edit(directory, file="adapter_config.json", **changes):
    content = json.loads((directory / file).read_text()) | changes
    (directory / file).write_text(json.dumps(content))


def test_peft_transformers_and_we_load_the_same_model(base, tmp_path):
    from peft import PeftModel

    policy = adapted(base)
    place = saved(policy, tmp_path / "adapter")
    assert {file.name for file in place.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    modes = {file.stat().st_mode for file in place.iterdir()}
    assert len(modes) == 1  # whoever may read one may read the other
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    by_peft = logits(PeftModel.from_pretrained(plain, place))
    by_transformers = logits(AutoModelForImageTextToText.from_pretrained(place))
    ours = load_policy(place)
    assert (by_peft - logits(policy.model)).abs().max() < 1e-5  # the same products
    assert (by_transformers - by_peft).abs().max() < 1e-5
    assert (logits(ours.model) - by_peft).abs().max() < BAR
    assert (logits(AutoModelForImageTextToText.from_pretrained(base)) - by_peft).abs().max() > 0.1
    with torch.no_grad():
        assert torch.equal(log_p(ours), log_p(policy.sampler()))  # what decoded in training


def test_what_is_loaded_merged_is_a_plain_policy_that_can_be_trained(base, tmp_path):
    policy = load_policy(saved(adapted(base), tmp_path / "adapter"))
    assert not [name for name, _ in policy.named_parameters() if "lora" in name]
    assert all(weight.requires_grad for weight in policy.parameters())
    loss(policy).backward()
    again = saved(policy, tmp_path / "whole")
    assert torch.equal(log_p(load_policy(again)), log_p(policy))


def test_adapters_come_back_to_the_bit(base, tmp_path):
    policy = adapted(base)
    place = saved(policy, tmp_path / "adapter")
    fresh = adapted(base, learned=False)
    assert torch.equal(log_p(fresh.sampler()), log_p(load_policy(base)))
    load_adapters(fresh, place)
    for name, tensor in adapter_tensors(policy.model).items():
        assert torch.equal(adapter_tensors(fresh.model)[name], tensor), name
    assert torch.equal(log_p(fresh.sampler()), log_p(policy.sampler()))  # it is merged anew


def test_merged_checkpoints_are_plain_directories_with_their_adapters_beside(base, tmp_path):
    policy = adapted(base)
    policy.saves_merged = True
    place = saved(policy, tmp_path / "step")
    assert (place / "model.safetensors").is_file() and (place / "config.json").is_file()
    plain = AutoModelForImageTextToText.from_pretrained(place)
    assert type(plain).__name__.endswith("ForConditionalGeneration")
    assert torch.equal(logits(plain), logits(policy.sampler().model))
    assert torch.equal(log_p(load_policy(place)), log_p(policy.sampler()))
    assert torch.equal(log_p(load_policy(place / "adapter")), log_p(policy.sampler()))


def test_the_sampler_saves_what_its_policy_does(base, tmp_path):
    policy = adapted(base)
    one, other = saved(policy, tmp_path / "a"), saved(policy.sampler(), tmp_path / "b")
    assert [f.name for f in sorted(one.iterdir())] == [f.name for f in sorted(other.iterdir())]
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()


def test_a_base_that_moved_is_named_and_found_where_the_config_says(qwen2, tmp_path):
    place = saved(adapted(qwen2), tmp_path / "adapter")
    wanted = log_p(load_policy(place))
    moved = tmp_path / "moved"
    qwen2.rename(moved)
    with pytest.raises(ValueError, match=rf"is an adapter of {qwen2}, and that base is not there"):
        load_policy(place)
    for named in (str(moved), "../moved"):  # relative: from the adapter's own folder
        edit(place, base_model_name_or_path=named)
        assert torch.equal(log_p(load_policy(place)), wanted)
    edit(place, base_model_name_or_path=None)
    with pytest.raises(ValueError, match=r"names no base \(base_model_name_or_path\)"):
        check_named(place)


def test_another_base_than_it_was_trained_on_is_refused(qwen2, tmp_path):
    place = saved(adapted(qwen2), tmp_path / "adapter")
    (place / "groupwise.json").write_text(json.dumps({BASE_WEIGHTS: weights_checksum(qwen2)}))
    load_policy(place)
    tensors = load_file(qwen2 / "model.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1}, qwen2 / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"is not the model that the adapter .* was trained on"):
        load_policy(place)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3', and only LORA is read"),
        ({"use_dora": True}, "asks for use_dora, and only plain LoRA"),
        ({"bias": "all"}, "asks for bias, and only plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "asks for modules_to_save"),
        ({"a_later_invention": 1}, "asks for a_later_invention"),
        ({"r": 0}, "r is 0, which is no rank"),
        ({"r": "8"}, "r is '8', which is no rank"),
        ({"r": 2}, "is no adapter of this model: tensors of another shape"),
        ({"target_modules": ["q_proj"]}, "0 tensors are missing and .* belong to no layer"),
        ({"target_modules": ["c_attn"]}, "does not fit its base"),
    ],
)
def test_what_is_no_plain_adapter_of_this_model_is_refused(qwen2, tmp_path, changes, message):
    place = saved(adapted(qwen2, LoraSettings(4, 8, ("text",))), tmp_path / "adapter")
    edit(place, **changes)
    with pytest.raises(ValueError, match=message):
        load_policy(place)


def test_a_missing_or_broken_file_of_adapters_is_named(qwen2, tmp_path):
    place = saved(adapted(qwen2, LoraSettings(4, 8, ("q_proj",))), tmp_path / "adapter")
    file = place / "adapter_model.safetensors"
    tensors = load_file(file)
    first, *rest = tensors
    save_file({name: tensors[name] for name in rest}, file)
    with pytest.raises(ValueError, match=r"adapter_model.safetensors .*1 tensors are missing"):
        load_policy(place)
    save_file(tensors | {first: tensors[first] * float("nan")}, file)
    with pytest.raises(ValueError, match=r"holds NaN or inf in model.language_model.layers.0"):
        load_policy(place)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"adapter_model.safetensors .* cannot be read"):
        load_policy(place)
    file.unlink()
    with pytest.raises(ValueError, match=r"there is no such file \(pickled adapters"):
        load_policy(place)


def test_an_adapter_of_an_adapter_is_refused(qwen2, tmp_path):
    first = saved(adapted(qwen2, LoraSettings(4, 8, ("text",))), tmp_path / "first")
    second = tmp_path / "second"
    shutil.copytree(first, second)
    edit(second, base_model_name_or_path=str(first))
    with pytest.raises(ValueError, match=r"first holds an adapter .* which is needed here"):
        load_policy(second)
    with pytest.raises(ValueError, match=r"--lora-rank puts new adapters on a whole model"):
        check_named(first, whole=True)
    check_named(first)


def test_merging_writes_a_plain_model_without_words_of_a_base(qwen2, tmp_path, capsys):
    policy = adapted(qwen2)
    place, target = saved(policy, tmp_path / "adapter"), tmp_path / "whole"
    card = {"mode": "think", "base_model": "x", BASE_WEIGHTS: weights_checksum(qwen2)}
    (place / "groupwise.json").write_text(json.dumps(card))
    assert merge([str(place), str(target)]) == 0
    assert json.loads((target / "groupwise.json").read_text()) == {"mode": "think"}
    assert torch.equal(log_p(load_policy(target)), log_p(policy.sampler()))
    assert merge([str(place), str(target)]) == 2  # it holds something now
    assert merge([str(qwen2), str(tmp_path / "new")]) == 2
    errors = capsys.readouterr().err
    assert "is no adapter" in errors and not (tmp_path / "new").exists()


def test_without_peft_one_line_says_what_to_install(qwen2, tmp_path, monkeypatch):
    place = saved(adapted(qwen2, LoraSettings(4, 8, ("q_proj",))), tmp_path / "adapter")
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ValueError, match=r"need the library peft .*pip install 'peft >= 0.21'"):
        load_policy(place)
    with pytest.raises(ValueError, match=r"adapters \(--lora-rank"):
        adapted(qwen2)


def test_the_embedded_model_is_named_by_its_place_for_peft(tmp_path):
    policy = adapted("tiny", LoraSettings(2, 4, ("q_proj",)))
    save_adapters(policy, tmp_path)
    named = json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert (Path(named) / "model.safetensors").is_file()
    edit(tmp_path, base_model_name_or_path="/gone/models/tiny")  # of another machine
    (tmp_path / "groupwise.json").write_text('{"base_model": "tiny"}')
    assert torch.equal(log_p(load_policy(tmp_path)), log_p(policy.sampler()))
