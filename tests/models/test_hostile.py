"""Directories that mean harm end in one message: nothing is fetched, run, filled or waited for."""

import json
import os
import socket
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import load_policy
from models.checkpoint.loading import context_tokens, load_plain_model
from models.named_model import check_named
from models.prompts.processor import Processor
from tests.models.hidden import completion_hidden
from tests.models.nano import random_image, write_checkpoint

pytestmark = pytest.mark.model


@pytest.fixture
def directory(tmp_path):
    return write_checkpoint(tmp_path / "model", nested=True)


@pytest.fixture
def offline(monkeypatch):
    """Whoever asks for a connection, or for a file or a kernel of the hub, has lost."""
    import huggingface_hub
    import transformers.integrations.hub_kernels as kernels

    def fail(*arguments, **_):
        raise AssertionError(f"asked the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, fail)
    for name in ("load_and_register_attn_kernel", "get_kernel", "lazy_load_kernel"):
        if hasattr(kernels, name):
            monkeypatch.setattr(kernels, name, fail)


def edit(file, change):
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(change(content)), encoding="utf-8")


HARM = {
    "attn_implementation": "someone/kernel",
    "_attn_implementation": "someone/kernel",
    "_attn_implementation_internal": "someone/kernel",
    "experts_implementation": "someone/kernel",
    "_experts_implementation": "someone/kernel",
    "auto_map": {"AutoConfig": "code.Config", "AutoModelForImageTextToText": "someone/x--code.M"},
    "use_kernels": True,
    "kernel_config": {"kernel_mapping": {"RMSNorm": "someone/kernel:RMSNorm"}},
    "custom_pipelines": {"x": {"impl": "code.Pipeline"}},
    "trust_remote_code": True,
    "_commit_hash": "0123456789abcdef",
    "_name_or_path": "someone/model",
    "dtype": "load",
    "torch_dtype": "someone/dtype",
}


def harmed(config):
    config = config | HARM
    for part in ("text_config", "vision_config"):
        config[part] = config[part] | HARM | {"parts": HARM, "some": [HARM]}
    return config


@pytest.mark.usefixtures("offline")
def test_what_a_config_says_of_how_to_run_counts_for_nothing(directory, tmp_path):
    plain = load_policy(write_checkpoint(tmp_path / "plain", nested=True))
    edit(directory / "config.json", harmed)
    more = {"auto_map": {"AutoTokenizer": ["code.T", None]}, "processor_class": "someone/x--P"}
    edit(directory / "tokenizer_config.json", lambda content: content | more)
    edit(directory / "preprocessor_config.json", lambda content: content | {"auto_map": more})
    edit(directory / "generation_config.json", lambda content: content | HARM)
    check_named(directory)
    policy = load_policy(directory)
    assert policy.visual.config._attn_implementation == "sdpa"
    theirs = load_plain_model(directory, dtype=torch.float32, device=torch.device("cpu"))
    for config in (theirs.config, theirs.config.text_config, theirs.config.vision_config):
        assert config._attn_implementation == "sdpa" and "someone" not in config.to_json_string()
    assert context_tokens(directory) == 512
    ids = torch.tensor([[5, 6, 7]])
    ours, same = (
        completion_hidden(
            one, [one.processor.encode("What?", [random_image(56, 56)], keep_size=True)], [1], ids
        )
        for one in (policy, plain)
    )
    assert torch.equal(ours, same)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"num_hidden_layers": 10**9}),
        ("config.json", {"hidden_size": -64}),
        ("config.json", {"vocab_size": 0}),
        ("config.json", {"num_attention_heads": 2.5}),
        ("config.json", {"intermediate_size": True}),
        ("config.json", {"max_position_embeddings": 10**3000}),
        ("config.json", {"intermediate_size": "96"}),
    ],
)
def test_a_size_that_no_model_has_is_named(file, change, directory):
    (key,) = change

    def nested(config):
        return config | {"text_config": config["text_config"] | change}

    for how in (nested, lambda config: config | change):
        edit(directory / file, how)
        with pytest.raises(ValueError, match=rf"config\.json: (text_config\.)?{key} is ") as caught:
            load_policy(directory)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("change", [{"num_hidden_layers": 900, "hidden_size": 65536}])
def test_a_config_of_more_weights_than_the_files_hold_takes_no_memory(change, directory):
    edit(directory / "config.json", lambda c: c | {"text_config": c["text_config"] | change})
    with pytest.raises(ValueError, match=r"describes a model of at least .* files hold at most"):
        load_policy(directory)


DEEP = "[" * 100_000 + "]" * 100_000
JSON_FILES = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.json", "processor_config.json"),
)


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f'{{"a": {DEEP}}}', "is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        (DEEP[:100_000], "is nested too deeply|is not JSON"),
        ("[]", "holds no JSON object"),
    ],
    ids=("deep", "huge number", "open", "list"),
)
def test_a_file_of_json_that_no_reader_can_take_is_named(name, content, told, directory):
    (directory / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{name} .*({told})|{name} ({told})") as caught:
        load_policy(directory)
    assert len(str(caught.value)) < 500


def test_a_file_of_json_too_large_to_be_one_is_not_read(directory):
    with (directory / "config.json").open("r+b") as stream:
        stream.truncate(300_000_000_000)  # sparse: it takes no room
    with pytest.raises(ValueError, match=r"config\.json has 300,000,000,000 bytes"):
        load_policy(directory)


@pytest.mark.parametrize("length", [2_000_000_000, 2**63, 2**64 - 1])
def test_a_header_of_gigabytes_is_damaged(length, directory):
    file = directory / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + b"{")
    os.truncate(file, 3_000_000_000)
    with pytest.raises(ValueError, match=r"model\.safetensors is cut short or damaged"):
        load_policy(directory)


@pytest.mark.parametrize("name", ["../stolen.safetensors", "/etc/passwd", "a/b.safetensors", ".."])
def test_an_index_names_files_beside_it_only(name, directory):
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").rename(directory.parent / "stolen.safetensors")
    index = {"weight_map": dict.fromkeys(weights, name)}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"index\.json names .* which is no file beside it|lacks"):
        load_policy(directory)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "config.json", "merges.txt", "added_tokens.json"],
)
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link to itself", "folder"])
def test_what_is_no_file_is_never_waited_for(name, kind, directory):
    place = directory / name
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero" if kind == "link to a device" else place)
    if name in ("merges.txt", "added_tokens.json") and kind in ("folder", "link to itself"):
        Processor.load(directory)  # it is not needed, and never opened
        return
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_policy(directory)


def test_a_link_to_a_file_is_a_file_as_in_the_hubs_cache(directory, tmp_path):
    (directory / "model.safetensors").rename(tmp_path / "blob")
    (directory / "model.safetensors").symlink_to(tmp_path / "blob")
    load_policy(directory)


def test_a_tokenizer_whose_library_panics_is_one_message(directory, monkeypatch):
    """Rust's panic is no Exception of Python's: nothing that catches these would see it."""
    import transformers

    panic = type("PanicException", (BaseException,), {})

    def panicking(*_, **__):
        raise panic("index out of bounds")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", panicking)
    with pytest.raises(ValueError, match=r"the tokenizer in .* cannot be loaded .index out of"):
        load_policy(directory)


def test_padding_that_a_tokenizer_asks_for_is_not_made(directory):
    """A fixed length of 10^12 would be filled at the first text."""
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
    edit(directory / "tokenizer.json", lambda content: content | {"padding": padding})
    assert len(Processor.load(directory).encode_completion("abc")) == 3


def test_weights_of_another_shape_are_still_named_one_by_one(directory):
    weights = load_file(directory / "model.safetensors")
    name = next(iter(weights))
    weights[name] = torch.zeros(3, 3)
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"have another shape than config\.json says"):
        load_policy(directory)
