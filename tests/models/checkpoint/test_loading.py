"""Every layout of the hub loads; everything else ends in one message that says what to do."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
from safetensors.torch import load_file, save_file

from models import load_policy
from models.checkpoint.saving import save_policy
from models.files import EMBEDDED, find_checkpoint
from models.memory import sizes_of
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, VOCAB_SIZE, random_image, write_checkpoint

pytestmark = pytest.mark.model

LAYOUTS = {
    "flat": {},
    "nested": {"nested": True},
    "many shards": {"shard_size": "40KB"},
    "untied": {"tied": False},
    "untied, nested, many shards": {"tied": False, "nested": True, "shard_size": "40KB"},
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Hidden states of each family, tied and not, through the plainest layout."""
    folder = tmp_path_factory.mktemp("plain")
    found = {}
    for family in FAMILIES:
        for tied in (True, False):
            directory = write_checkpoint(folder / f"{family}-{tied}", family, tied=tied)
            found[family, tied] = run(load_policy(directory))
    return found


@torch.no_grad()
def run(policy):
    prompts = [policy.processor.encode("Which plane?", [random_image(56, 84)])]
    hidden = completion_hidden(policy, prompts, [1], torch.tensor([[1, 2, 3]]))
    return hidden @ policy.output_weight.t()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layout_of_the_hub_loads_the_same_numbers(family, layout, tmp_path, expected):
    directory = write_checkpoint(tmp_path / "nano", family, **LAYOUTS[layout])
    if "many shards" in layout:
        assert len(list(directory.glob("*.safetensors"))) > 3
    if "nested" in layout:
        assert "text_config" in json.loads((directory / "config.json").read_text())
    tied = LAYOUTS[layout].get("tied", True)
    policy = load_policy(directory)
    assert torch.equal(run(policy), expected[family, tied])
    assert policy.context_tokens == 512
    embedding = policy.text.embed_tokens.weight
    assert (policy.output_weight is embedding) == tied


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_with_the_real_tokenizer_loads(family, nano_dirs):
    policy = load_policy(nano_dirs[family], dtype="float32")
    assert policy.output_weight.shape == (151936, 64)
    assert torch.isfinite(run(policy)).all()


def test_the_options_do_what_they_say(tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    policy = load_policy(
        directory, dtype="bfloat16", freeze_vision=True, gradient_checkpointing=True
    )
    assert policy.dtype == torch.bfloat16 and policy.gradient_checkpointing and policy.vision_frozen
    assert policy.path == directory and policy.device == torch.device("cpu")
    plain = load_policy(directory)
    assert plain.dtype == torch.float32 and not plain.gradient_checkpointing
    assert all(parameter.requires_grad for parameter in plain.parameters())
    plain.gradient_checkpointing = True
    assert plain.gradient_checkpointing


def test_tiny_is_the_embedded_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tiny") == EMBEDDED["tiny"]
    (tmp_path / "tiny").mkdir()
    assert find_checkpoint("tiny") == EMBEDDED["tiny"]
    for path in ("./tiny", tmp_path / "tiny", "tiny/"):
        assert find_checkpoint(path).resolve() == tmp_path / "tiny"


def test_a_folder_named_tiny_is_loaded_whole_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "tiny")
    policy = load_policy("./tiny")
    assert policy.output_weight.shape == (VOCAB_SIZE, 64)
    assert max(policy.processor.banned_ids) == VOCAB_SIZE - 1  # not the embedded model's tokenizer


# What is wrong with a checkpoint -> (how to break a good one, words of the message).
def _drop(*names):
    def damage(directory):
        for name in names:
            (directory / name).unlink()

    return damage


def _write(name, text):
    return lambda directory: (directory / name).write_text(text)


def _edit(name, **changes):
    def damage(directory):
        content = json.loads((directory / name).read_text()) | changes
        (directory / name).write_text(json.dumps(content))

    return damage


def _truncate(directory):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _lose_tensors(directory):
    file = directory / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})


def _pickle_only(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def _lose_template(directory):
    _edit("tokenizer_config.json", chat_template=None)(directory)


def _lose_shard(directory):
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


DAMAGES = {
    "no config": (_drop("config.json"), "has no config.json: it is no checkpoint"),
    "config not JSON": (
        _write("config.json", "{model"),
        "config.json is not JSON .*fetch it again",
    ),
    "config no object": (_write("config.json", "[1]"), "config.json holds no JSON object"),
    "another family": (_edit("config.json", model_type="llama"), "'llama', and only qwen2_vl and"),
    "impossible config": (_edit("config.json", num_attention_heads=5), "do not fit together"),
    "sliding window": (_edit("config.json", use_sliding_window=True), "sliding-window attention"),
    "no weights": (_drop("model.safetensors"), "has no weights: model.safetensors"),
    "pickled weights": (_pickle_only, "only pickled weights .*convert them to safetensors"),
    "truncated weights": (_truncate, "model.safetensors is cut short or damaged .*copy it again"),
    "missing tensor": (_lose_tensors, "1 tensors are missing .*layers.1.mlp.up_proj.weight"),
    "misshapen tensors": (
        _edit("config.json", intermediate_size=80),
        "6 have another shape .*mlp.down_proj",
    ),
    "a layer too many": (_edit("config.json", num_hidden_layers=3), "12 tensors are missing"),
    "missing shard": (_lose_shard, "lacks model-00001-of-00002.safetensors, which"),
    "no tokenizer": (_drop("tokenizer.json"), "has no tokenizer: tokenizer.json"),
    "damaged tokenizer": (_write("tokenizer.json", "{}"), "the tokenizer in .* cannot be loaded"),
    "no chat template": (_lose_template, "has no chat template .*give an Instruct checkpoint"),
    "no preprocessor": (_drop("preprocessor_config.json"), "has no preprocessor_config.json: copy"),
    "another preprocessor": (
        _edit("preprocessor_config.json", patch_size=16),
        "patch_size 14 and .* patch_size 16: the two files",
    ),
    "tokenizer too large": (
        _edit("config.json", vocab_size=260),
        "ids up to 263, the embedding 260",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_message_says_what_is_wrong_with_a_checkpoint(damage, tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    break_it, message = DAMAGES[damage]
    break_it(directory)
    with pytest.raises(ValueError, match=message) as caught:
        load_policy(directory)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no/such/place", "no model directory no/such/place: give a directory that holds"),
        ("/nowhere", "no model directory /nowhere"),
        ("./nano", "no model directory ./nano"),
        ("nano", "no model directory nano"),
        ("nobody/not-cached-anywhere", "hub cannot be reached: go online once, or copy"),
        (__file__, "is a file: give the directory that holds config.json"),
    ],
)
def test_a_model_that_is_nowhere_is_said_to_be(path, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=message):
        load_policy(path)


def test_spare_tensors_are_left_out_with_a_warning(tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    file = directory / "model.safetensors"
    save_file(load_file(file) | {"stray.weight": torch.ones(2)}, file, metadata={"format": "pt"})
    with pytest.warns(UserWarning, match=r"1 tensors .* not part of the model .*stray.weight"):
        load_policy(directory)


@pytest.mark.parametrize(
    ("device", "message"),
    [("tpu", "device 'tpu' is not there: use one of cpu"), ("cuda:99", "device 'cuda:99' is not")],
)
def test_an_unknown_device_is_refused_with_those_there_are(device, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_policy(tmp_path, device=device)


@pytest.mark.parametrize("dtype", ["int8", "half a float", torch.int64])
def test_an_unknown_dtype_is_refused(dtype, tmp_path):
    with pytest.raises(ValueError, match=r"dtype .* is unknown: use one of float32, bfloat16"):
        load_policy(tmp_path, dtype=dtype)


def test_loading_is_silent(tmp_path, capfd):
    directory = write_checkpoint(tmp_path / "nano", shard_size="40KB")
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(load_policy(directory, gradient_checkpointing=True))
    assert capfd.readouterr() == ("", "")


def test_importing_models_does_no_work():
    code = "import sys, models; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import models

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing


def test_the_weights_are_no_view_of_the_file(tmp_path):
    # a view would change, or end the process, when another checkpoint is written over the file
    directory = write_checkpoint(tmp_path / "nano")
    policy = load_policy(directory)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    file = directory / "model.safetensors"
    with file.open("r+b") as stream:
        stream.write(bytes(file.stat().st_size))
    assert all(torch.equal(policy.model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_config_chooses_no_attention_and_fetches_no_code(key, nested, tmp_path):
    """transformers would take it instead of ours, and a name with a slash from the hub."""
    plain = load_policy(write_checkpoint(tmp_path / "plain", nested=nested))
    odd = write_checkpoint(tmp_path / "odd", nested=nested)
    config = json.loads((odd / "config.json").read_text())
    for part in (config, config.get("text_config", {}), config["vision_config"]):
        part[key] = "someone/attention-kernel"
    config |= {"auto_map": {"AutoModelForImageTextToText": "code.Model"}}
    config |= {"output_attentions": True}
    (odd / "config.json").write_text(json.dumps(config))

    policy = load_policy(odd)

    assert policy.visual.config._attn_implementation == "sdpa"
    pairs = zip(plain.state_dict().values(), policy.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert sizes_of(odd).parameters == sum(p.numel() for p in policy.parameters())
    save_policy(policy, tmp_path / "saved")
    written = (tmp_path / "saved" / "config.json").read_text()
    assert "someone" not in written and "auto_map" not in written


@pytest.mark.parametrize("terminal", [True, False])
def test_a_download_draws_bars_on_a_terminal_alone(terminal, monkeypatch, capsys):
    """Found in the log of a batch job: thousands of carriage returns."""
    enable_progress_bars()
    disabled = []

    def download(*_, **__):
        disabled.append(are_progress_bars_disabled())
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    try:
        with pytest.raises(ValueError, match="go online once"):
            find_checkpoint("nobody/a-model")
    finally:
        enable_progress_bars()
    assert disabled == [not terminal]
    assert ("nobody/a-model: fetched from the hub" in capsys.readouterr().out) is not terminal


def test_a_number_that_is_none_is_named_with_tensor_and_file(tmp_path):
    directory = write_checkpoint(tmp_path / "nano", shard_size="60KB")
    shards = sorted(directory.glob("*.safetensors"))
    name = put_into(shards[2], float("nan"))
    with pytest.raises(ValueError, match=rf"NaN or inf .* {name} in {shards[2].name}: fetch them"):
        load_policy(directory)


def test_numbers_that_become_inf_in_the_dtype_are_called_that(tmp_path):
    """2e5 is finite in the file, and float16 ends at 65,504."""
    directory = write_checkpoint(tmp_path / "nano", shard_size="60KB")
    shard = sorted(directory.glob("*.safetensors"))[1]
    name = put_into(shard, 2e5)
    message = rf"numbers that float16 does not reach.* {name} in {shard.name}: use a wider --dtype"
    with pytest.raises(ValueError, match=message):
        load_policy(directory, dtype=torch.float16)
    load_policy(directory, dtype="bfloat16")


def put_into(shard, number):
    weights = load_file(shard)
    name = next(name for name in weights if name.endswith("weight"))
    weights[name].view(-1)[0] = number
    save_file(weights, shard, {"format": "pt"})
    return name


@pytest.mark.parametrize("theta", [math.nan, 0.0, -1.0])
def test_a_config_that_makes_a_buffer_nan_is_named(theta, tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rope_theta": theta}))
    with pytest.raises(ValueError, match=r"config\.json makes .*inv_freq NaN or inf: .*rope_theta"):
        load_policy(directory)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
def test_only_a_policy_that_goes_elsewhere_at_once_stays_in_the_files_pages(tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    mapped = load_policy(directory, mapped=True)
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    ends = [line.split()[0].split("-") for line in lines if line.endswith("model.safetensors")]
    pages = [range(int(start, 16), int(end, 16)) for start, end in ends]

    def in_file(policy):
        weights = policy.parameters()
        return [any(weight.data_ptr() in part for part in pages) for weight in weights]

    assert all(in_file(mapped))
    own = load_policy(directory)
    assert not any(in_file(own))
    pairs = zip(own.parameters(), mapped.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
