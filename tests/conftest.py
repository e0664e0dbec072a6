"""What several test files need: ../shared, and checkpoint directories in the hub's layout.

What imports torch or transformers is imported where it is used: a test of the parser or of a table
would wait seconds for them.
"""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import pytest

from process import threads
from tests.places import ROOT, SHARED

# Checks that several test files share.
pytest.register_assert_rewrite("tests.grpo.logprobs.cuda.kernel_checks")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the network

# Who starts the suite in the background or under nohup ignores these, and so would what the tests
# start, which keeps an ignored signal ignored.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("SIGHUP", "SIGTERM"):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _the_same_output_everywhere():
    """What a command prints here depends neither on other processes nor on a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "CROWDED", float("inf"))
        patch.setenv("COLUMNS", "99")  # processes of pytest-xdist would say 80
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Verdicts on the tests' images stay out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # but not matplotlib's list of fonts, which takes it seconds to make
        patch.setenv("MPLCONFIGDIR", str(Path(gettempdir()) / "groupwise-tests-matplotlib"))
        yield


@pytest.fixture(scope="session", autouse="GROUPWISE_TEST_DEFAULTS" in os.environ)
def a_gpus_defaults():
    """The defaults of a GPU for all tests, where GROUPWISE_TEST_DEFAULTS=gpu asks for them."""
    from tests.whole.gpu_defaults import ASKED_FOR, defaults_of_a_gpu

    with defaults_of_a_gpu() if ASKED_FOR else nullcontext():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real files beside the project; a user does not have it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: it holds the real splits, images and tokenizer")
    return SHARED


@pytest.fixture(scope="session")
def nano_dirs(shared, tmp_path_factory) -> dict[str, Path]:
    """One random directory per family, laid out exactly like the hub's, by family name."""
    folder = tmp_path_factory.mktemp("nano")
    tool = shared / "tools" / "make_qwen2_vl_dir.py"
    directories = {}
    for family in ("qwen2_vl", "qwen2_5_vl"):
        out = folder / family
        options = ["--preset", "nano", "--family", family]
        subprocess.run([sys.executable, tool, out, *options], check=True, capture_output=True)
        directories[family] = out
    return directories


@pytest.fixture(scope="session", params=("qwen2_vl", "qwen2_5_vl"))
def nano_policy(request, tmp_path_factory):
    """A random policy of each family; many ids end a completion, so that lengths differ."""
    from models import load_policy
    from tests.models.nano import write_checkpoint

    directory = tmp_path_factory.mktemp("own_nano") / request.param
    policy = load_policy(write_checkpoint(directory, request.param))
    ends = (*policy.processor.end_ids, *range(ord("a"), ord("m")))
    policy.processor = replace(policy.processor, end_ids=ends)
    return policy


@pytest.fixture(autouse=True)
def _nano_policy_is_left_as_it_was(request):
    """A test that trains `nano_policy` hands it on with the weights that it got."""
    if "nano_policy" not in request.fixturenames:
        yield
        return
    import torch

    parameters = list(request.getfixturevalue("nano_policy").model.parameters())
    before = [(parameter.detach().clone(), parameter.requires_grad) for parameter in parameters]
    yield
    for parameter, (weights, learns) in zip(parameters, before, strict=True):
        parameter.requires_grad_(learns)
        parameter.grad = None
        if not torch.equal(parameter, weights):
            with torch.no_grad():
                parameter.copy_(weights)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """The shipped kernels under g++, registered as the log-prob backend "emulate"."""
    from grpo.logprobs.backends import register_backend
    from grpo.logprobs.cuda.rows import kernel_backend
    from tests.grpo.logprobs.cuda.emulator import Emulator, require_gxx

    require_gxx()
    build_dir = tmp_path_factory.mktemp("emulator")
    shipped = Emulator(
        ROOT / "grpo" / "logprobs" / "cuda" / "logprobs.cu", order="random", build_dir=build_dir
    )
    register_backend("emulate", lambda _device: kernel_backend(shipped))
    return shipped
