"""The launcher (driver.py) and the real cuda.bindings over a driver that runs the emulated kernels.

Every test runs in a process of its own whose libcuda is fake (emulator/fake_driver.py). Only
a GPU shows what streams, capture and the real driver's checks add to this.
"""

import functools
import threading
from ctypes import c_int, c_longlong

import pytest
import torch

from grpo.logprobs import token_logprobs
from grpo.logprobs.backends import register_backend
from grpo.logprobs.cuda.driver import launcher
from grpo.logprobs.cuda.launch import KERNELS, Launch, pointer
from grpo.logprobs.cuda.rows import kernel_backend
from tests.grpo.logprobs.cuda.emulator import require_gxx, require_nvrtc
from tests.grpo.logprobs.cuda.emulator.fake_driver import FakeDriver, FakeDriverProcess, pretend
from tests.grpo.logprobs.logprobs_cases import BF16, FP32, make_inputs, relative_error

pytestmark = pytest.mark.command

GPU = torch.device("cuda", 0)
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


@pytest.fixture(scope="module")
def fake_driver_process(tmp_path_factory):
    require_gxx()
    require_nvrtc()
    process = FakeDriverProcess(__name__, tmp_path_factory.mktemp("fake_driver"))
    yield process
    process.close()


def in_fake_driver_process(function):
    """Run a test over there."""

    def test(fake_driver_process):
        fake_driver_process.call(function.__name__)

    functools.update_wrapper(test, function)
    del test.__wrapped__  # pytest would ask it for the fixtures
    test.over_there = function
    return test


def compute(backend, dtype=FP32):
    """Return log-probs, entropies and the leaves that they came from, and a loss of them."""
    hidden, weight, targets, weightings = make_inputs(N=5, V=103, hidden_dtype=dtype)
    targets[1] = -100
    outputs = token_logprobs(
        hidden,
        weight,
        targets,
        temperature=0.7,
        with_entropy=True,
        tile_bytes=5000,
        backend=backend,
    )
    loss = sum(
        (output * weighting.float()).sum()
        for output, weighting in zip(outputs, weightings, strict=True)
    )
    return [*outputs, hidden, weight], loss


def finished(computation):
    """Return log-probs, entropies and both gradients."""
    (logprobs, entropy, hidden, weight), loss = computation
    loss.backward()
    return [logprobs, entropy, hidden.grad, weight.grad]


def make_current(number):
    """Push a device's context onto the stack of this thread, as its user might."""
    from cuda.bindings import driver

    _status, context = driver.cuDevicePrimaryCtxRetain(number)
    driver.cuCtxPushCurrent(context)


def register():
    register_backend("fake_driver", lambda _device: kernel_backend(launcher(GPU)))


def run_in_thread(function):
    """Return what a function gives on a thread that never used CUDA."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def launch_finalise(run):
    """Launch the smallest kernel on a row that is ignored, and look at what it wrote."""
    targets, floats = torch.tensor([-100]), torch.full((6, 1), 7.0)
    arguments = (
        *(c_longlong(1), pointer(targets), c_longlong(-100)),
        *map(pointer, (*floats[:4], floats[4], None, floats[5])),
        c_int(0),
    )
    run(Launch("finalise", 1, 256, arguments), GPU)
    assert floats[4:].tolist() == [[0.0], [0.0]]


@in_fake_driver_process
def test_log_probs_and_gradients_through_the_driver_equal_plain_pytorch():
    register()
    with pretend():
        for dtype, bar in ((FP32, 5e-5), (BF16, 1e-2)):  # bfloat16's gradients are rounded to it
            ours, theirs = (finished(compute(name, dtype)) for name in ("fake_driver", "torch"))
            torch.testing.assert_close(ours[:2], theirs[:2], atol=5e-5, rtol=0)
            assert relative_error(ours[2], theirs[2]) <= bar
            assert relative_error(ours[3], theirs[3]) <= bar
    launched = {line.split()[1] for line in FakeDriver().calls("cuLaunchKernel")}
    assert launched == {
        "forward_fp32_entropy",
        "finalise",
        "backward_fp32_to_fp32_entropy",
        "backward_fp32_to_bf16_entropy",
    }


@in_fake_driver_process
def test_a_backward_on_another_thread_gives_the_same_gradients():
    # Autograd has a thread per GPU; for tensors on the CPU it takes the caller's.
    register()
    with pretend():
        expected = finished(compute("fake_driver"))
        other = compute("fake_driver")
        actual, devices = run_in_thread(lambda: (finished(other), FakeDriver().current_devices()))
    assert devices == []
    assert all(map(torch.equal, actual, expected))


@in_fake_driver_process
def test_launches_go_to_the_stream_that_torch_is_on():
    with pretend(stream=2**40 + 8):
        run = launcher(GPU)
        launch_finalise(run)
    with pretend(stream=0):  # torch's default stream
        launch_finalise(run)
    assert FakeDriver().calls("cuLaunchKernel") == [
        f"cuLaunchKernel finalise grid 1 block 256 device 0 stream {stream}"
        for stream in (2**40 + 8, 1)  # CU_STREAM_LEGACY, whatever the bindings take 0 for
    ]


@in_fake_driver_process
def test_two_threads_at_their_first_call_load_one_module():
    barrier, found = threading.Barrier(2), []

    def ask():
        barrier.wait()
        found.append(launcher(GPU))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    with pretend():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 2 and found[0] is found[1]
    assert len(FakeDriver().calls("cuModuleLoadData")) == 1


@in_fake_driver_process
def test_every_device_has_its_own_module_and_context():
    with pretend(device=1):
        second = launcher(torch.device("cuda"))  # the current one
        first, again = launcher(GPU), launcher(torch.device("cuda", 1))
        launch_finalise(first)
        launch_finalise(second)
    assert again is second is not first
    assert len(FakeDriver().calls("cuModuleLoadData")) == 2
    devices = [line.split()[7] for line in FakeDriver().calls("cuLaunchKernel")]
    assert devices == ["0", "1"]


@in_fake_driver_process
def test_every_kernel_is_looked_up_once_and_before_the_first_launch():
    # looked up inside a capture, it would be loaded there
    with pretend():
        for _ in range(3):
            launch_finalise(launcher(GPU))
    looked_up = [line.split()[1] for line in FakeDriver().calls("cuModuleGetFunction")]
    assert looked_up == list(KERNELS)
    calls = FakeDriver().calls()
    launches = [i for i, line in enumerate(calls) if line.startswith("cuLaunchKernel")]
    assert not any("cuModuleGetFunction" in line for line in calls[launches[0] :])


@in_fake_driver_process
def test_a_thread_without_a_context_has_none_afterwards():
    driver = FakeDriver()
    with pretend():
        run = launcher(GPU)
        assert driver.current_devices() == []

        def launch_elsewhere():
            before = len(driver.calls("cuCtxPushCurrent"))
            launch_finalise(run)
            return len(driver.calls("cuCtxPushCurrent")) - before, driver.current_devices()

        assert run_in_thread(launch_elsewhere) == (1, [])


@in_fake_driver_process
def test_another_current_context_is_current_again_afterwards():
    with pretend():
        run = launcher(GPU)
        make_current(1)
        launch_finalise(run)
    assert FakeDriver().current_devices() == [1]


@in_fake_driver_process
def test_nothing_is_pushed_where_our_context_is_current():
    fake = FakeDriver()
    with pretend():
        run = launcher(GPU)
        make_current(0)
        before = len(fake.calls("cuCtxPushCurrent"))
        launch_finalise(run)
    assert len(fake.calls("cuCtxPushCurrent")) == before
    assert fake.current_devices() == [0]


@in_fake_driver_process
def test_loading_while_capturing_is_refused_and_launching_is_not():
    with pretend(capturing=True), pytest.raises(RuntimeError, match="once before the capture"):
        launcher(GPU)
    assert not FakeDriver().calls("cuModuleLoadData")
    with pretend():
        launcher(GPU)  # the refusal is not remembered
    with pretend(capturing=True):
        launch_finalise(launcher(GPU))


@in_fake_driver_process
def test_a_failing_driver_call_is_named_with_its_status_and_leaves_no_context():
    fake = FakeDriver()
    with pretend():
        loading = ("cuInit", "cuDevicePrimaryCtxRetain", "cuModuleLoadData", "cuModuleGetFunction")
        for name in loading:
            fake.fail(name, OUT_OF_MEMORY)
            with pytest.raises(RuntimeError, match=f"{name} failed: CUDA_ERROR_OUT_OF_MEMORY"):
                launcher(GPU)
            fake.fail(name, 0)
        run = launcher(GPU)
        for name in ("cuCtxGetCurrent", "cuCtxPushCurrent"):
            fake.fail(name, OUT_OF_MEMORY)
            with pytest.raises(RuntimeError, match=f"{name} failed: CUDA_ERROR_OUT_OF_MEMORY"):
                launch_finalise(run)
            fake.fail(name, 0)
        fake.fail("cuLaunchKernel", OUT_OF_MEMORY)
        with pytest.raises(RuntimeError, match="cuLaunchKernel failed: CUDA_ERROR_OUT_OF_MEMORY"):
            launch_finalise(run)
        assert fake.current_devices() == []
        fake.fail("cuLaunchKernel", 0)
        launch_finalise(run)  # nothing of it stays behind
