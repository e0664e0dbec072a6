"""Which backend runs, the reason given, and what is said where the kernels cannot.

There need be no GPU: a device is only a name here, and what loads the kernels is replaced by what
fails as NVRTC and the driver do.
"""

import warnings

import pytest
import torch

from grpo.logprobs import api, backends
from grpo.logprobs.backends import (
    check_backend,
    choose_backend,
    get_backend,
    register_backend,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FP32, BF16, FP64 = torch.float32, torch.bfloat16, torch.float64
LOG = "NVRTC could not compile logprobs.cu with --std=c++17\nlogprobs.cu(7): error: no such thing"


def forget():
    for function in (backends.get_backend, backends._why_no_kernels):
        function.cache_clear()


@pytest.fixture(autouse=True)
def fresh_backends(monkeypatch):
    """No test sees what another has registered or tried."""
    monkeypatch.setattr(backends, "_FACTORIES", dict(backends._FACTORIES))
    forget()
    yield
    forget()


@pytest.fixture
def attempts(monkeypatch) -> list:
    """The devices on which loading the kernels was tried: it fails with a compiler's log."""
    seen = []

    def load(device):
        seen.append(device)
        raise RuntimeError(LOG)

    monkeypatch.setitem(backends._FACTORIES, "cuda", load)
    return seen


@pytest.fixture
def kernels(monkeypatch) -> object:
    """What loading the kernels gives on a GPU where it works."""
    loaded = object()
    monkeypatch.setitem(backends._FACTORIES, "cuda", lambda _device: loaded)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the GPU {device}")
    return loaded


def test_an_unknown_name_is_an_error_that_lists_the_names():
    register_backend("mine", lambda _device: None)
    for function in (check_backend, lambda name: choose_backend(name, CPU, FP32)):
        with pytest.raises(ValueError, match="unknown backend 'triton'") as caught:
            function("triton")
        assert "('auto', 'torch', 'cuda', " in str(caught.value) and "'mine')" in str(caught.value)


@pytest.mark.parametrize("name", ["auto", "torch", "cuda"])
def test_a_name_that_is_taken_cannot_be_registered(name):
    before = dict(backends._FACTORIES)
    with pytest.raises(ValueError, match=f"there is a backend '{name}' already"):
        register_backend(name, lambda _device: None)
    assert before == backends._FACTORIES


def test_a_registered_backend_runs_by_its_name_and_is_made_once_per_device():
    made = []
    register_backend("mine", lambda device: made.append(device) or object())
    for device in (CPU, GPU, CPU, GPU):
        assert choose_backend("mine", device, FP32) == ("mine", "as asked")
        assert get_backend("mine", device) is get_backend("mine", device)
    assert made == [CPU, GPU]


@pytest.mark.parametrize("dtype", [FP32, BF16, FP64])
def test_auto_without_a_gpu_is_pytorch_because_of_the_device(dtype):
    assert choose_backend("auto", CPU, dtype) == (
        "torch",
        "the kernels need a GPU and this is cpu",
    )


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("dtype", [FP32, BF16, FP64])
def test_pytorch_runs_everywhere(device, dtype):
    assert choose_backend("torch", device, dtype) == ("torch", "as asked")


def test_the_kernels_on_a_cpu_are_an_error_with_the_way_out():
    for _ in range(2):  # an error is not remembered as a backend
        with pytest.raises(RuntimeError, match=r"'cuda' cannot run on cpu: use 'auto' or 'torch'"):
            choose_backend("cuda", CPU, FP32)


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("dtype", [FP64, torch.float16])
def test_a_dtype_that_the_kernels_do_not_know_is_an_error_if_they_were_asked_for(device, dtype):
    with pytest.raises(TypeError, match=rf"'cuda' knows float32 and bfloat16, not {dtype}: use"):
        choose_backend("cuda", device, dtype)


def test_auto_leaves_float64_on_a_gpu_to_pytorch_without_loading_the_kernels(attempts):
    assert choose_backend("auto", GPU, FP64) == (
        "torch",
        "the kernels know float32 and bfloat16, not torch.float64",
    )
    assert not attempts


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_the_kernels_run_where_they_load(kernels, name, dtype):
    why = {"auto": "the kernels run on the GPU cuda:0", "cuda": "as asked"}[name]
    assert choose_backend(name, GPU, dtype) == ("cuda", why)
    assert get_backend("cuda", GPU) is kernels


def test_auto_falls_back_to_pytorch_with_one_warning_that_carries_the_reason(attempts):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # Python itself shows a warning once per place
        for dtype in (FP32, BF16, FP32):
            name, why = choose_backend("auto", GPU, dtype)
            assert (name, why) == ("torch", f"the kernels cannot run: {LOG}")
    (warning,) = caught
    assert warning.category is UserWarning
    assert "fall back to plain PyTorch on cuda:0, slower" in str(warning.message)
    assert LOG in str(warning.message)
    assert attempts == [GPU]


def test_every_gpu_that_falls_back_warns(attempts):
    other = torch.device("cuda", 1)
    for device in (GPU, other):
        with pytest.warns(UserWarning, match=f"on {device}"):
            choose_backend("auto", device, FP32)
    assert attempts == [GPU, other]


@pytest.mark.usefixtures("attempts")
def test_the_kernels_asked_for_by_name_raise_the_compilers_log_each_time():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(RuntimeError) as caught:
                choose_backend("cuda", GPU, FP32)
            assert str(caught.value) == LOG


def test_an_error_other_than_the_backends_own_is_not_taken_for_a_fallback(monkeypatch):
    def load(_device):
        raise AttributeError("our own mistake")

    monkeypatch.setitem(backends._FACTORIES, "cuda", load)
    with pytest.raises(AttributeError, match="our own mistake"):
        choose_backend("auto", GPU, FP32)


def test_the_functions_to_call_refuse_what_is_refused_here():
    hidden, weight, targets = torch.zeros(2, 3), torch.zeros(4, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="unknown backend 'triton'"):
        api.token_logprobs(hidden, weight, targets, backend="triton")
    with pytest.raises(ValueError, match="unknown backend 'triton'"):
        api.logits_logprobs(hidden, targets, backend="triton")
    with pytest.raises(RuntimeError, match="'cuda' cannot run on cpu"):
        api.token_logprobs(hidden, weight, targets, backend="cuda")
    with pytest.raises(TypeError, match="'cuda' knows float32 and bfloat16"):
        api.token_logprobs(hidden.double(), weight.double(), targets, backend="cuda")


def test_an_attempt_inside_a_graphs_capture_is_an_error_and_no_lasting_fallback(monkeypatch):
    refusal = RuntimeError("loading cannot be captured: call token_logprobs once before")
    loaded, capturing = object(), [True]

    def load(_device):
        if capturing:
            raise refusal
        return loaded

    monkeypatch.setitem(backends._FACTORIES, "cuda", load)
    monkeypatch.setattr(backends, "_is_capturing", lambda _device: bool(capturing))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the GPU {device}")
    with pytest.raises(RuntimeError, match="call token_logprobs once before"):
        choose_backend("auto", GPU, FP32)
    capturing.clear()
    assert choose_backend("auto", GPU, FP32)[0] == "cuda"
