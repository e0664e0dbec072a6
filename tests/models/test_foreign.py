"""What is no checkpoint to train is refused as what it is, with a way out, by every command."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluate import main as evaluate
from models import load_policy
from models.named_model import check_named
from tests.models.nano import FAMILIES, write_checkpoint
from train import main as train

pytestmark = pytest.mark.model

QUANTISED = {
    "AWQ": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
    "GPTQ": {"quant_method": "gptq", "bits": 8, "desc_act": False},
    "bitsandbytes 4": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes 8": {"load_in_8bit": True},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    "ModelOpt": {"quant_algo": "NVFP4"},
}


def edit(directory, **changes):
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def add_tensors(directory, **tensors):
    weights = load_file(directory / "model.safetensors")
    names = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file(weights | names, directory / "model.safetensors", {"format": "pt"})


@pytest.fixture(params=FAMILIES)
def checkpoint(request, tmp_path):
    return write_checkpoint(tmp_path / "model", request.param)


@pytest.mark.parametrize("settings", QUANTISED.values(), ids=QUANTISED)
def test_a_quantised_checkpoint_is_called_one(settings, checkpoint):
    edit(checkpoint, quantization_config=settings)
    with pytest.raises(ValueError, match=r"is a quantised checkpoint .* take the unquantised") as e:
        load_policy(checkpoint)
    method = settings.get("quant_method") or settings.get("quant_algo") or "8 bits"
    assert method in str(e.value) and "do not fit together" not in str(e.value)
    with pytest.raises(ValueError, match="is a quantised checkpoint"):
        check_named(checkpoint)  # which train.py asks before it imports torch


@pytest.mark.parametrize("place", ["text_config", "compression_config", "quantize_config.json"])
def test_wherever_a_quantiser_left_word(place, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", nested=True)
    if place == "text_config":
        text = json.loads((checkpoint / "config.json").read_text())["text_config"]
        edit(checkpoint, text_config=text | {"quantization_config": QUANTISED["GPTQ"]})
    elif place == "compression_config":
        edit(checkpoint, compression_config=QUANTISED["compressed-tensors"])
    else:
        (checkpoint / place).write_text("{}")
    with pytest.raises(ValueError, match="is a quantised checkpoint"):
        load_policy(checkpoint)


LAYER = "model__layers__0__mlp__up_proj__"


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("qweight", torch.zeros(8, 8, dtype=torch.int32)),
        ("scales", torch.zeros(8, 8)),
        ("weight_packed", torch.zeros(8, 8, dtype=torch.int32)),
        ("weight_scale_inv", torch.zeros(1)),
        ("weight__absmax", torch.zeros(1)),
        ("SCB", torch.zeros(1)),
        ("weight", torch.zeros(96, 64, dtype=torch.float8_e4m3fn)),
        ("weight", torch.zeros(96, 64, dtype=torch.int8)),
    ],
)
def test_quantised_tensors_are_known_without_a_word_in_the_config(name, tensor, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model")
    add_tensors(checkpoint, **{LAYER + name: tensor})
    with pytest.raises(ValueError, match=r"holds quantised weights .*take the unquantised"):
        load_policy(checkpoint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unquantised_weights_load_in_every_float(dtype, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model")
    weights = load_file(checkpoint / "model.safetensors")
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    assert load_policy(checkpoint).dtype == torch.float32


def test_an_adapter_whose_base_is_nowhere_is_called_one_and_the_base_named(checkpoint):
    base = {"base_model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct", "peft_type": "LORA"}
    (checkpoint / "adapter_config.json").write_text(json.dumps(base))
    (checkpoint / "config.json").unlink()
    (checkpoint / "model.safetensors").rename(checkpoint / "adapter_model.safetensors")
    message = r"an adapter of Qwen/Qwen2-VL-2B-Instruct, and that base is not there"
    with pytest.raises(ValueError, match=message):
        load_policy(checkpoint)


def test_an_adapters_tensors_in_a_models_file_are_no_spare_ones(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model")
    add_tensors(checkpoint, **{LAYER + "lora_A__weight": torch.zeros(4, 64)})
    with pytest.raises(ValueError, match=r"holds an adapter's tensors .*merge the adapter"):
        load_policy(checkpoint)


def test_gguf_is_called_so_as_directory_and_as_file(tmp_path):
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"holds a GGUF file \(model-Q4_K_M.gguf\): quantised"):
        load_policy(tmp_path / "gguf")
    with pytest.raises(ValueError, match="is a GGUF file, quantised for inference"):
        load_policy(tmp_path / "gguf" / "model-Q4_K_M.gguf")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_not_a_damaged_file(name, checkpoint):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3987\n"
    (checkpoint / name).write_text(pointer)
    with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer, .*git lfs pull"):
        load_policy(checkpoint)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_named(name, checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / name)
    with pytest.raises(ValueError, match=rf"only pickled weights \({name}\).*convert them"):
        load_policy(checkpoint)


@pytest.mark.parametrize("family", ["qwen2", "qwen3_vl", "llava", "qwen2_vl_text", None])
def test_another_architecture_is_named_with_those_that_are_supported(family, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model")
    edit(checkpoint, model_type=family)
    with pytest.raises(ValueError, match=rf"model_type {family!r}, and only qwen2_vl and qwen2_5"):
        load_policy(checkpoint)


@pytest.mark.parametrize("weight_map", [{}, [], {"a": 3}, {"a": None}])
def test_an_index_that_names_no_files_is_damaged(weight_map, checkpoint):
    (checkpoint / "model.safetensors").unlink()
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match="has no weight_map: fetch it again"):
        load_policy(checkpoint)
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(ValueError, match="lacks model-00001-of-00002"):
        load_policy(checkpoint)


def test_the_commands_end_with_the_same_message_and_status_2(tmp_path, capsys):
    checkpoint = write_checkpoint(tmp_path / "model")
    edit(checkpoint, quantization_config=QUANTISED["AWQ"])
    common = ["--model", str(checkpoint), "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    assert train([*common, "--train-json", "phantoms:CT"]) == 2
    assert "is a quantised checkpoint (awq, 4 bits" in capsys.readouterr().err
    assert evaluate([*common, "--json", "phantoms:CT"]) == 2
    assert "is a quantised checkpoint (awq, 4 bits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
