"""--device: what it may say, who makes it the current one, and that our own CUDA calls name theirs.

There is no second GPU here, so commands are run against a torch.cuda that pretends to have two and
notes what is asked of it; what names no device is found by reading the sources.
"""

import ast
import inspect
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import evaluate
import models.checkpoint.loading
import train
from evaluation.curate.__main__ import main as curate
from grpo.settings.resuming import resumed_config
from models.checkpoint.offload import offload_layers
from models.decode.graphs import Graphs
from models.devices import check_device, choose_device, default_dtype, make_current
from tests.places import ROOT

FOLDERS = ("models", "grpo", "evaluation", "data", "rewards", "benchmarks", "scripts")
SOURCES = sorted(ROOT.glob("*.py"))
SOURCES += sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


@pytest.fixture
def two_gpus(monkeypatch):
    """Let torch see two GPUs, up to the first tensor; return what was made current."""
    made_current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made_current.append(str(device)))
    memory = SimpleNamespace(total_memory=80 * 10**9, name="a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: memory)
    return made_current


@pytest.mark.usefixtures("two_gpus")
def test_a_device_has_one_name():
    assert check_device("cuda") == check_device(torch.device("cuda:0")) == torch.device("cuda:0")
    assert check_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cpu") == torch.device("cpu")


# to torch cuda:256 is cuda:0, and cuda:300 is cuda:44
@pytest.mark.parametrize(
    "name", ["cuda:2", "cuda:7", "cuda:256", "cuda:-1", "cuda:", "CUDA", "gpu", "", "mps", "cpu:1"]
)
@pytest.mark.usefixtures("two_gpus")
def test_another_one_is_refused_with_those_that_are_there(name):
    with pytest.raises(
        ValueError, match=rf"^device '{name}' is not there: use one of cpu, cuda:0, cuda:1$"
    ):
        choose_device(name)


def test_without_a_gpu_the_message_says_that_torch_sees_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"'cuda' is not there: use one of cpu \(torch .* sees no"):
        check_device("cuda")


def test_defaults_are_the_devices():
    assert default_dtype(torch.device("cuda:1")) == torch.bfloat16


def test_a_cpu_is_nothing_to_make_current(two_gpus):
    assert make_current(torch.device("cpu")) == torch.device("cpu") and two_gpus == []
    assert make_current(torch.device("cuda:1")) == torch.device("cuda:1") and two_gpus == ["cuda:1"]


PROTOCOL = """
model = "tiny"
output_dir = "never/made"
methods = ["sft"]
zero_shot = ["think"]
steps = 1
[data]
phantoms = true
[modality]
slices = ["CT"]
[settings]
image_size = 84
logprob_backend = "torch"
"""


@contextmanager
def written_protocol(folder):
    file = folder / "p.toml"
    file.write_text(PROTOCOL)
    yield file
    file.unlink()


def run(command, folder, device):
    """Run one of the commands that load a model; return its exit status."""
    output = ["--output-dir", str(folder / "out")]
    if command == "train":
        return train.main(
            ["--device", device, "--max-steps", "1", "--logprob-backend", "torch", *output]
        )
    if command == "protocol":
        with written_protocol(folder) as file:
            return train.main(["--protocol", str(file), "--device", device, *output])
    if command == "curate":
        flags = ["--model", "tiny", "--json", "phantoms:CT", "--limit", "8"]
        return curate([*flags, "--device", device, *output])
    image = folder.with_suffix(".png")  # beside it: nothing may be left inside
    Image.new("RGB", (84, 84)).save(image)
    flags = {
        "evaluate": ["--limit", "4", *output],
        "matrix": ["matrix", "--models", "base=tiny", "--json", "phantoms:CT", "--limit", "4",
                   *output],
        "ask": ["ask", "--model", "tiny", "--image", str(image), "--question", "What?",
                "--options", "CT", "MRI"],
    }  # fmt: skip
    return evaluate.main([*flags[command], "--device", device])


COMMANDS = ("train", "evaluate", "matrix", "ask", "curate", "protocol")


@pytest.mark.command
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_makes_its_device_current_before_it_loads_a_model(
    command, two_gpus, tmp_path, monkeypatch, capsys
):
    def load(*_args):
        raise ValueError(f"loading with {two_gpus} current")

    monkeypatch.setattr(models.checkpoint.loading, "_load_model", load)
    assert run(command, tmp_path, "cuda:1") == 2
    assert "loading with ['cuda:1'" in capsys.readouterr().err
    assert set(two_gpus) == {"cuda:1"}


@pytest.mark.command
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("device", ["cuda:2", "abacus"])
@pytest.mark.usefixtures("two_gpus")
def test_every_command_refuses_a_device_that_is_not_there(command, device, tmp_path, capsys):
    assert run(command, tmp_path, device) == 2
    printed = capsys.readouterr().err
    assert f"device '{device}' is not there: use one of cpu, cuda" in printed
    assert printed.startswith("error: ") and list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("two_gpus")
def test_a_policy_on_another_gpu_is_not_offloaded_to_this_one(nano_policy, monkeypatch):
    monkeypatch.setattr(
        type(nano_policy), "device", property(lambda _policy: torch.device("cuda:0"))
    )
    with pytest.raises(ValueError, match="run on cuda:1, but the policy is on cuda:0"):
        offload_layers(nano_policy, "cuda:1")


# Which stream waits for which, and where a graph is captured


class FakeCuda:
    """As much of torch.cuda as `Graphs` uses, with a current device and a stream per device."""

    def __init__(self, monkeypatch):
        self.current, self.log = 0, []
        self.streams = {}
        for name in ("Stream", "current_stream", "stream", "device", "graph", "CUDAGraph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")

    def Stream(self, device):
        return FakeStream(f"new:{device.index}", device, self.log)

    def current_stream(self, device=None):
        index = self.current if device is None else device.index
        return FakeStream(f"usual:{index}", torch.device("cuda", index), self.log)

    @contextmanager
    def device(self, device):
        before, self.current = self.current, device.index
        yield
        self.current = before

    @contextmanager
    def stream(self, stream):
        with self.device(stream.device):
            yield

    @contextmanager
    def graph(self, _graph, *, stream, **_options):
        self.log.append(f"wait for all of {self.current}")  # as torch.cuda.graph does
        with self.stream(stream):
            yield

    CUDAGraph = object


class FakeStream:
    def __init__(self, name, device, log):
        self.name, self.device, self.log = name, device, log

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


def test_a_graph_of_the_second_gpu_waits_for_the_second_gpus_stream(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    graphs = Graphs(torch.device("cuda:1"))
    graphs.get("a", lambda: lambda: cuda.log.append(f"run on {cuda.current}"))
    assert cuda.log == [
        "new:1 waits for usual:1",
        "run on 1",
        "usual:1 waits for new:1",
        "wait for all of 1",
        "run on 1",
    ]
    assert cuda.current == 0


# What names no device, read from the sources


def takes_a_device(name: str) -> bool:
    """Return whether torch.cuda.NAME has a parameter for the device, which may be left away."""
    try:
        return "device" in inspect.signature(getattr(torch.cuda, name)).parameters
    except (AttributeError, TypeError, ValueError):
        return False


def deviceless_calls(source: str) -> list[str]:
    """Return calls that mean the current device without saying so, `line: call`."""
    tree, found = ast.parse(source), []
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and "torch.cuda.device(" in ast.unparse(node.items[0])
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), bool(node.args or node.keywords)
        name = called.removeprefix("torch.cuda.")
        if name != called and not given and takes_a_device(name):
            found.append(f"{node.lineno}: {called}")
        if name == "is_current_stream_capturing" and id(node) not in guarded:
            found.append(f"{node.lineno}: {called} outside of torch.cuda.device")
        if called.endswith(".cuda") and not given:
            found.append(f"{node.lineno}: {called}")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_cuda_call_leaves_its_device_to_the_current_one(file):
    source = file.read_text(encoding="utf-8")
    assert deviceless_calls(source) == []
    assert "from torch import cuda" not in source and "from torch.cuda import" not in source


def test_the_reading_finds_what_it_looks_for():
    wrong = (
        "torch.cuda.synchronize()",
        "s.wait_stream(torch.cuda.current_stream())",
        "s = torch.cuda.Stream()",
        "torch.cuda.memory_allocated()",
        "free, _ = torch.cuda.mem_get_info()",
        "torch.cuda.is_current_stream_capturing()",
        "tensor.cuda()",
    )
    for line in wrong:
        assert len(deviceless_calls(line)) == 1, line
    right = (
        "torch.cuda.synchronize(device)",
        "torch.cuda.Stream(device=d)",
        "torch.cuda.is_available()",
        "torch.cuda.empty_cache()",
        "torch.cuda.CUDAGraph()",
    )
    for line in right:
        assert deviceless_calls(line) == []


@pytest.fixture
def second_of_two(monkeypatch):
    """Be the second of two processes that torchrun has started on this machine."""
    told = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, text in told.items():
        monkeypatch.setenv(name, text)


@pytest.mark.usefixtures("two_gpus", "second_of_two")
def test_of_several_processes_each_has_the_gpu_of_its_number():
    assert choose_device("auto") == torch.device("cuda:1")


@pytest.mark.usefixtures("second_of_two")
def test_of_several_processes_without_gpus_each_is_on_the_cpu():
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu", "cuda:0", torch.device("cpu")])
@pytest.mark.usefixtures("second_of_two")
def test_no_device_is_named_for_several_processes(name):
    with pytest.raises(ValueError, match=r"--device .* of all 2 processes.*leave it away"):
        choose_device(name)


@pytest.mark.usefixtures("second_of_two")
def test_a_run_that_several_processes_go_on_with_chooses_its_devices_anew():
    stored = {"model": "tiny", "device": "cuda:0", "reference_device": "cuda:0"}
    config = resumed_config(stored, {})
    assert (config.device, config.reference_device) == ("auto", "auto")
