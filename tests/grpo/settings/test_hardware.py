"""Devices made definite, and what is free on them."""

import platform
import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch

import grpo.settings.device_memory
from evaluation.asking.asked_model import chosen_policy
from grpo.run.directory import RunDirectory
from grpo.run.session import Session
from grpo.settings import hardware
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import (
    free_memory,
    idle_between_steps,
)
from grpo.settings.hardware import prepare_device, resolve_hardware
from grpo.settings.resolve import GRPO_ONLY
from grpo.settings.resuming import RESUMABLE
from grpo.settings.run_memory import memory_of_run
from models import load_policy
from process.memory import FullMemory
from process.ranks import Place, World
from tests.models.nano import write_checkpoint

pytestmark = pytest.mark.model

GB = 10**9


def test_a_missing_library_of_8_bit_moments_ends_a_run_before_anything_is_loaded(monkeypatch):
    asked = []

    def missing(device):
        asked.append(device)
        raise ValueError("bitsandbytes is not installed")

    monkeypatch.setattr(hardware, "bitsandbytes_functions", missing)
    with pytest.raises(ValueError, match="not installed"):
        resolve_hardware(GRPOConfig(device="cpu", optimizer="adamw_8bit"))
    assert asked == [torch.device("cpu")]
    resolve_hardware(GRPOConfig(device="cpu"))
    assert len(asked) == 1  # who has float32 moments needs none


def test_an_optimizer_that_is_moved_to_where_it_lies_already_is_warned_about(capsys):
    config = resolve_hardware(GRPOConfig(device="cpu", offload_optimizer=True))
    prepare_device(config)
    assert "--offload-optimizer: the run is on the CPU" in capsys.readouterr().err


def test_auto_becomes_what_this_machine_has():
    config = resolve_hardware(GRPOConfig())
    on_cuda = torch.cuda.is_available()
    assert config.device.startswith("cuda") == on_cuda
    assert config.dtype == ("bfloat16" if on_cuda else "float32")
    assert config.reference_device == config.device
    assert config.gradient_checkpointing is False  # the embedded model fits any GPU


def test_what_was_asked_for_stays():
    asked = GRPOConfig(device="cpu", dtype="bfloat16", gradient_checkpointing=True)
    config = resolve_hardware(asked)
    assert (config.device, config.dtype, config.gradient_checkpointing) == ("cpu", "bfloat16", True)


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(name):
    with pytest.raises(ValueError, match=rf"device '{name}' is not there: use one of cpu"):
        resolve_hardware(GRPOConfig(device=name))


def test_a_device_has_one_name_and_the_reference_stands_there_or_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: H200)

    def resolved(**settings):  # nothing is there, so no kernels either
        return resolve_hardware(GRPOConfig(logprob_backend="torch", **settings))

    config = resolved(device="cuda:0", reference_device="cuda")
    assert config.device == config.reference_device == "cuda:0"
    assert resolved(device="cuda", reference_device="cpu").device == "cuda:0"
    with pytest.raises(ValueError, match="reference_device=cuda:1 is neither the run's device"):
        resolved(device="cuda:0", reference_device="cuda:1")


def test_what_compares_a_whole_model_is_refused_where_each_process_has_a_part(monkeypatch):
    monkeypatch.setattr(hardware, "world", lambda: World(Place(rank=0, size=2)))
    with pytest.raises(ValueError, match=r"--verify-prefix .* without torchrun"):
        resolve_hardware(GRPOConfig(verify_prefix=True))


def test_kernels_that_cannot_run_are_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match=r"logprob_backend=cuda: .* cannot run on cpu: use 'auto'"):
        resolve_hardware(GRPOConfig(device="cpu", logprob_backend="cuda"))
    assert resolve_hardware(GRPOConfig(device="cpu")).logprob_backend == "auto"


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_out_of_memory_advises_what_the_method_and_a_resumed_run_take(method, tmp_path):
    mode = {"grpo": "think", "sft": "no_think"}[method]
    config = GRPOConfig(method=method, mode=mode, gradient_checkpointing=True)
    message = Session(config, RunDirectory(tmp_path)).out_of_memory(FullMemory(True, "CUDA"))
    first, anew = message.split("Only in a new run:")
    assert "during loading (CUDA). At any time, also with --resume: lower --micro-b" in first
    for text, taken in ((first, set(RESUMABLE)), (anew, {item.name for item in fields(config)})):
        named = {name.replace("-", "_") for name in re.findall(r"--([a-z][a-z-]+)", text)}
        named -= {"resume"}
        assert named <= taken
        assert method == "grpo" or not named & set(GRPO_ONLY)
    assert ("--reference-device" in first) == ("--group-size" in anew) == (method == "grpo")


def test_freed_memory_is_kept_where_the_c_library_can():
    # in a process of its own: it changes how all of one allocates
    code = "from process.allocator import keep_freed_memory as k; print(k(), k())"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["True", "True"] or platform.libc_ver()[0] != "glibc"


def reductions() -> tuple:
    cuda = torch.backends.cuda
    return (
        cuda.matmul.allow_bf16_reduced_precision_reduction,
        cuda.matmul.allow_fp16_reduced_precision_reduction,
        cuda.fp16_bf16_reduction_math_sdp_allowed(),
        torch.get_float32_matmul_precision(),
    )


def allow(bf16: bool, fp16: bool, attention: bool, float32: str) -> None:
    cuda = torch.backends.cuda
    cuda.matmul.allow_bf16_reduced_precision_reduction = bf16
    cuda.matmul.allow_fp16_reduced_precision_reduction = fp16
    cuda.allow_fp16_bf16_reduction_math_sdp(attention)
    torch.set_float32_matmul_precision(float32)


@pytest.mark.parametrize(
    "way",
    [
        lambda _model: resolve_hardware(GRPOConfig(device="cpu")),  # a training run
        load_policy,  # everything else: a protocol's cells, a user's script
        lambda model: chosen_policy(model, torch.device("cpu"), "auto"),  # evaluate.py, curate
    ],
    ids=["run", "load", "evaluation"],
)
def test_no_product_adds_up_in_less_than_float32(way, tmp_path):
    model, before = str(write_checkpoint(tmp_path / "nano")), reductions()
    allow(True, True, True, "high")  # torch's own defaults, or what a container sets
    try:
        way(model)
        assert reductions() == (False, False, False, "highest")
    finally:
        allow(*before)


def test_free_memory_is_what_the_system_and_a_containers_limit_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(grpo.settings.device_memory, "_CONTAINER", tmp_path)
    without = free_memory(torch.device("cpu"))
    assert without > 0
    (tmp_path / "memory.current").write_text("7000\n")
    (tmp_path / "memory.stat").write_text("anon 6000\ninactive_file 500\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(torch.device("cpu")) == pytest.approx(without, rel=0.5)
    (tmp_path / "memory.max").write_text("10000\n")
    assert free_memory(torch.device("cpu")) == 10000 - 7000 + 500


def test_free_memory_of_a_gpu_counts_what_torch_holds_unused(monkeypatch):
    said = {"mem_get_info": (100, 1000), "memory_reserved": 70, "memory_allocated": 30}
    for name, value in said.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
    assert free_memory(torch.device("cuda:1")) == 100 + 70 - 30


def test_memory_is_without_bound_where_the_system_does_not_say(tmp_path, monkeypatch):
    def absent(self, *_, **__):
        raise FileNotFoundError(self)

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_text", absent)
        assert free_memory(torch.device("cpu")) == float("inf")
    # a container's limit of 1 GB, of which 0.7 GB are taken and 0.2 GB of that are files' pages
    stat = "anon 500\ninactive_file 200"
    for name, text in {"max": "1000", "current": "700", "stat": stat}.items():
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    monkeypatch.setattr(grpo.settings.device_memory, "_CONTAINER", tmp_path)
    assert free_memory(torch.device("cpu")) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(torch.device("cpu")) > 500


class H200:
    """What torch says of a GPU, as far as memory goes."""

    total_memory = 141 * GB


def test_what_is_idle_between_steps_is_what_the_runs_own_parts_leave(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: H200)
    config = resolve_hardware(GRPOConfig(device="cpu"))
    on_gpu = replace(config, device="cuda", reference_device="cuda")
    needed = memory_of_run(on_gpu)
    assert idle_between_steps(on_gpu) == H200.total_memory - needed.staying
    with_reference_elsewhere = replace(on_gpu, reference_device="cpu")
    assert idle_between_steps(with_reference_elsewhere) > idle_between_steps(on_gpu)
    assert idle_between_steps(config) == pytest.approx(free_memory(torch.device("cpu")), rel=0.5)


@pytest.mark.parametrize(("times", "warns"), [(10, False), (1, True)])
def test_a_run_that_may_not_fit_its_gpu_is_warned_before_it_loads(
    monkeypatch, capsys, times, warns
):
    config = resolve_hardware(GRPOConfig(device="cpu"))
    on_gpu = replace(config, device="cuda", reference_device="cuda", logprob_backend="torch")

    class Card:
        total_memory = times * memory_of_run(on_gpu).total

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Card)
    monkeypatch.setattr("grpo.settings.hardware.make_current", lambda _device: None)
    assert prepare_device(on_gpu) == {"name": "torch", "why": "as asked"}
    err = " ".join(capsys.readouterr().err.split())
    assert ("warning: the run needs about" in err and "it may run out of memory" in err) is warns


def test_a_reference_on_a_third_device_is_refused_with_the_runs_own(monkeypatch):
    monkeypatch.setattr("grpo.settings.hardware.check_device", torch.device)
    config = GRPOConfig(device="cpu", reference_device="cuda:1")
    with pytest.raises(ValueError, match="=cuda:1 is neither the run's device, cpu, nor cpu: use"):
        resolve_hardware(config)
