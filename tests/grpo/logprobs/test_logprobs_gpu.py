"""What only a GPU shows of the log-prob kernels: sizes past 2^31, streams, graphs, memory, waits.

The correctness table and the edges run on a GPU too, as the "cuda" cases of the other
test_logprobs files.

N tokens, D hidden size, V vocabulary.
"""

import pytest
import torch

from grpo.logprobs import logits_logprobs, token_logprobs
from tests.grpo.logprobs.logprobs_cases import gradients, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
V = 151_936
MIB = 2**20


def inputs(N, D, vocab_size=V, dtype=torch.bfloat16, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator, device="cuda") * 2 / D**0.5
    weight = torch.randn(vocab_size, D, generator=generator, device="cuda") * 3
    targets = torch.randint(vocab_size, (N,), generator=generator, device="cuda")
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def exact(hidden, weight, targets, rows):
    """Log-probs of some rows in float64."""
    logits = hidden[rows].double() @ weight.double().T
    return logits.log_softmax(dim=1).gather(1, targets[rows, None])[:, 0]


@pytest.mark.parametrize("N", [65_536, 70_001])
def test_more_rows_than_a_grids_second_dimension_holds(N):
    hidden, weight, targets = inputs(N, 64, 1003)
    logprobs, entropy = token_logprobs(hidden, weight, targets, with_entropy=True, backend="cuda")
    logits = hidden.double() @ weight.double().T
    log_p = logits.log_softmax(dim=1)
    torch.testing.assert_close(
        logprobs.double(), log_p.gather(1, targets[:, None])[:, 0], atol=5e-5, rtol=0
    )
    expected = torch.special.entr(log_p.exp()).sum(dim=1)
    torch.testing.assert_close(entropy.double(), expected, atol=1e-4, rtol=0)
    weightings = torch.randn(1, N, dtype=torch.float64, device="cuda")
    ours = gradients([logprobs], (hidden, weight), weightings)
    truth = gradients([log_p.gather(1, targets[:, None])[:, 0]], (hidden, weight), weightings)
    assert all(relative_error(*pair) <= 5e-3 for pair in zip(ours, truth, strict=True))


@pytest.mark.parametrize("tile_bytes", [None, 2**34])
def test_more_logits_than_32_bits_count(tile_bytes):
    N = 16_384  # N * V = 2.49e9; with the second tile size in one tile
    hidden, weight, targets = inputs(N, 64)
    logprobs, _ = token_logprobs(hidden, weight, targets, tile_bytes=tile_bytes, backend="cuda")
    rows = torch.tensor([0, 1, 8191, 14_134, 14_135, 16_382, 16_383], device="cuda")
    torch.testing.assert_close(
        logprobs[rows].double(), exact(hidden, weight, targets, rows), atol=5e-5, rtol=0
    )
    # the sum over all rows of a row of dW: every row's gradient has reached it
    (grad,) = torch.autograd.grad(logprobs.sum(), weight)
    logits = hidden[:, :].double() @ weight[-64:].double().T
    lse = torch.cat(
        [(part.float() @ weight.float().T).logsumexp(dim=1) for part in hidden.split(1024)]
    )
    p = (logits - lse[:, None].double()).exp()
    expected = -p.T @ hidden.double()
    expected.index_add_(
        0,
        (targets - (V - 64)).clamp(min=0),
        hidden.double() * (targets >= V - 64)[:, None],
    )
    assert relative_error(grad[-64:], expected) <= 5e-3


def test_existing_logits_past_2_to_the_31():
    N = 14_200
    logits = torch.randn(N, V, device="cuda")
    targets = torch.randint(V, (N,), device="cuda")
    logprobs, entropy = logits_logprobs(logits, targets, with_entropy=True, backend="cuda")
    rows = torch.tensor([0, 14_134, 14_135, N - 1], device="cuda")
    log_p = logits[rows].double().log_softmax(dim=1)
    expected = log_p.gather(1, targets[rows, None])[:, 0]
    torch.testing.assert_close(logprobs[rows].double(), expected, atol=5e-5, rtol=0)
    entropies = torch.special.entr(log_p.exp()).sum(dim=1)
    torch.testing.assert_close(entropy[rows].double(), entropies, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tile_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("D", [1536, 3584])
def test_the_extra_memory_stays_inside_the_designs_bars(tile_dtype, D):
    N, tile = 8192, 256 * MIB
    hidden, weight, targets = inputs(N, D)
    options = {"tile_dtype": tile_dtype, "tile_bytes": tile, "backend": "cuda"}

    def peak(work) -> int:
        work()  # what a first call keeps, such as cuBLAS's workspace, is not its own
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def forward():
        with torch.no_grad():
            token_logprobs(hidden, weight, targets, **options)

    def both():
        logprobs, _ = token_logprobs(hidden, weight, targets, **options)
        torch.autograd.grad(logprobs.sum(), (hidden, weight))

    assert peak(forward) <= tile + 32 * MIB
    own_gradients = 2 * (hidden.numel() + weight.numel())
    assert peak(both) - own_gradients <= 1.5 * tile + 4 * N * D + 64 * MIB


def test_nothing_waits_for_the_device():
    hidden, weight, targets = inputs(256, 64)

    def both():
        logprobs, entropy = token_logprobs(
            hidden, weight, targets, with_entropy=True, banned_ids=range(100, 110), backend="cuda"
        )
        torch.autograd.grad(logprobs.sum() + entropy.sum(), (hidden, weight))
        logits_logprobs(torch.zeros(4, V, device="cuda"), targets[:4], backend="cuda")

    both()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        both()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_launches_follow_the_current_stream():
    hidden, weight, targets = inputs(512, 256)
    expected = token_logprobs(hidden, weight, targets, backend="cuda")[0]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    late = torch.zeros_like(hidden)
    with torch.cuda.stream(stream), torch.no_grad():
        torch.cuda._sleep(200_000_000)  # about 0.1 s: a launch on another stream would read zeros
        late.copy_(hidden)
        actual = token_logprobs(late, weight, targets, backend="cuda")[0]
    stream.synchronize()
    torch.testing.assert_close(actual, expected)


def test_a_captured_graph_replays_on_new_numbers():
    hidden, weight, targets = (tensor.detach() for tensor in inputs(128, 256))
    options = {"with_entropy": True, "banned_ids": (5, 6), "backend": "cuda"}
    targets.clamp_(min=10)

    def run():
        return token_logprobs(hidden, weight, targets, **options)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm: module loaded, cuBLAS's handle and workspace made
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    for seed in (1, 2):
        other, _, ids = inputs(128, 256, seed=seed)
        hidden.copy_(other.detach())
        targets.copy_(ids.clamp(min=10))
        graph.replay()
        for ours, expected in zip(captured, run(), strict=True):
            torch.testing.assert_close(ours, expected)


def test_the_backward_finds_its_context_on_a_thread_of_its_own():
    hidden, weight, targets = inputs(64, 64)
    logprobs, _ = token_logprobs(hidden, weight, targets, backend="cuda")
    logprobs.sum().backward()  # autograd's own thread for this device
    assert hidden.grad.isfinite().all() and hidden.grad.abs().sum() > 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="only one CUDA device here")
def test_each_device_has_its_own_module():
    hidden, weight, targets = inputs(64, 64, 1003)
    expected = token_logprobs(hidden, weight, targets, backend="cuda")[0]
    moved = (tensor.detach().to("cuda:1") for tensor in (hidden, weight, targets))
    actual = token_logprobs(*moved, backend="cuda")[0]
    torch.testing.assert_close(actual.cpu(), expected.cpu())


def test_auto_takes_the_kernels_here():
    from grpo.logprobs.backends import choose_backend

    name, why = choose_backend("auto", torch.device("cuda", 0), torch.bfloat16)
    assert name == "cuda", why


def test_repeats_are_bitwise_equal():
    hidden, weight, targets = inputs(1024, 256)

    def run():
        outputs = token_logprobs(hidden, weight, targets, with_entropy=True, backend="cuda")
        return *outputs, *torch.autograd.grad(outputs[0].sum(), (hidden, weight))

    first = run()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))
