"""Where a run came from: everything that decides what is learned has its checksum."""

import functools
import hashlib
import json

import pytest

from grpo.run.provenance import (
    check_noted,
    check_unchanged,
    model_checksum,
    run_description,
    source_checksums,
    text_checksum,
)
from grpo.settings.config import GRPOConfig


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "notes.md").write_text("read by nobody")
    return folder


def test_data_template_model_and_reward_files_have_a_checksum_each(tmp_path, model):
    own = tmp_path / "own.py"
    own.write_text("def length(c, e, m): return 1.0\n")
    config = GRPOConfig(
        model=str(model), train_json=("a.json",), rewards=("accuracy", f"{own}:length", "short")
    )

    def short(completion, example, mode):
        return float(len(completion) + len(example.options) + len(mode))

    own_rewards = {"short": short, "partial": functools.partial(short, mode="x")}
    sums = source_checksums(config, "{question}", {"train": {"a.json": "1"}}, own_rewards)
    assert sums["train data a.json"] == "1"
    assert sums[f"reward {own}:length"] == sha(own.read_text())
    assert sums["prompt template"] == text_checksum("{question}") == sha("{question}")
    assert "reward accuracy" not in sums  # ours: the version stands in run.json
    assert "def short(" not in sums["reward short"] and len(sums["reward short"]) == 64
    assert "reward partial" not in sums  # Python knows no source of it
    assert sums[f"start model {model}"] == model_checksum(model)


def test_a_models_checksum_is_that_of_its_files_their_names_included(model):
    first = model_checksum(model)
    (model / "notes.md").write_text("changed")
    assert model_checksum(model) == first
    (model / "config.json").rename(model / "other.json")
    renamed = model_checksum(model)
    (model / "model.safetensors").write_bytes(b"weightz")
    assert len({first, renamed, model_checksum(model)}) == 3


def test_whatever_changed_is_named_with_both_checksums_and_where_it_was():
    stored = {"same": "a" * 64, "train data /old": "b" * 64, "gone": "c" * 64}
    renamed = {"train data /old": "train data /new"}
    found = {"same": "a" * 64, "train data /new": "b" * 64, "gone": "c" * 64, "added": "d" * 64}
    check_unchanged(stored, found, renamed)
    with pytest.raises(ValueError) as caught:
        check_unchanged(stored, {"same": "a" * 64, "train data /new": "e" * 64}, renamed)
    message = str(caught.value)
    assert "train data /new (SHA-256 bbbbbbbbbbbb then, eeeeeeeeeeee now, then at train" in message
    assert "gone (SHA-256 cccccccccccc then, none now)" in message
    assert "same" not in message.replace("the same run", "")


def test_a_resumed_runs_description_says_from_where_and_what_changed(monkeypatch):
    monkeypatch.setattr("grpo.run.provenance.machine", lambda: {"versions": {}, "machine": {}})
    config = GRPOConfig(model="tiny", train_json=("phantoms",), max_steps=20)
    first = run_description(config, {"total_steps": 20}, None, 0)
    assert first["resumed"] == [] and first["total_steps"] == 20
    longer = GRPOConfig(model="tiny", train_json=("phantoms",), max_steps=30)
    again = run_description(longer, {}, first, 10)
    assert again["resumed"] == [{"from_step": 10, "changed": {"max_steps": 30}}]
    third = run_description(longer, {}, again, 15)
    assert third["resumed"] == [*again["resumed"], {"from_step": 15, "changed": {}}]


def test_the_library_that_made_the_adapters_is_noted_of_a_run_that_has_some(monkeypatch):
    monkeypatch.setattr("grpo.run.provenance.machine", lambda: {"versions": {}, "machine": {}})
    monkeypatch.setattr("grpo.run.provenance._version", lambda name: f"{name} 1")
    config = GRPOConfig(model="tiny", train_json=("phantoms",))
    assert run_description(config, {}, None, 0)["versions"] == {}
    adapted = GRPOConfig(model="tiny", train_json=("phantoms",), lora_rank=4)
    assert run_description(adapted, {}, None, 0)["versions"] == {"peft": "peft 1"}


def test_an_adapter_is_another_where_its_base_is(model, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(model)})
    )
    (adapter / "adapter_model.safetensors").write_bytes(b"adapters")
    first = model_checksum(adapter)
    assert model_checksum(adapter) == first
    (model / "model.safetensors").write_bytes(b"weightz")
    assert model_checksum(adapter) != first


def test_a_source_whose_checksum_is_not_in_run_json_is_named():
    stored = {"prompt template": "a" * 64, "train data /old": "b" * 64, "start model tiny": None}
    renamed = {"train data /old": "train data /new"}
    check_noted(stored, ["prompt template", "train data /new"], renamed)
    with pytest.raises(ValueError, match="no checksum of reward short, start model tiny, so that"):
        check_noted(stored, ["prompt template", "start model tiny", "reward short"], renamed)
