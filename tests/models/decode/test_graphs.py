"""Which graphs are made, kept and dropped, with stand-ins; and what a failed capture does."""

import warnings

import pytest
import torch

import models.decode.graphs
from models.decode.graphs import Graphs


def counting(calls: list, name: str):
    return lambda: lambda: calls.append(name)


def test_one_graph_per_key_is_made_and_replayed():
    graphs, calls = Graphs(None), []
    first = graphs.get("a", counting(calls, "a"))
    assert calls == []  # made, not run
    for key in ("a", "b", "a"):
        graphs.get(key, counting(calls, key)).replay()
    assert graphs.get("a", counting(calls, "other")) is first
    assert calls == ["a", "b", "a"] and graphs.made == 2


def test_the_one_that_was_not_used_longest_leaves():
    graphs, calls = Graphs(None, limit=2), []
    kept = graphs.get("a", counting(calls, "a"))
    graphs.get("b", counting(calls, "b"))
    graphs.get("a", counting(calls, "a"))
    graphs.get("c", counting(calls, "c"))
    assert len(graphs) == 2
    assert graphs.get("a", counting(calls, "a")) is kept and graphs.made == 3
    graphs.get("b", counting(calls, "b"))
    assert graphs.made == 4
    graphs.clear()
    assert len(graphs) == 0


def failing_capture(error):
    def fail(*_args):
        raise error

    return fail


@pytest.fixture
def without_cuda(monkeypatch):
    """Let `Graphs` believe in a device, up to the capture."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: "stream")
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(models.decode.graphs, "warm_up", lambda function, _stream: function())


@pytest.mark.usefixtures("without_cuda")
def test_a_capture_that_fails_warns_once_and_goes_on_without(monkeypatch):
    error = RuntimeError("operation not permitted when stream is capturing")
    monkeypatch.setattr(models.decode.graphs, "capture", failing_capture(error))
    graphs, calls = Graphs(torch.device("cuda")), []
    with pytest.warns(RuntimeWarning, match=r"not permitted.*Nothing has to be done"):
        graphs.get("a", counting(calls, "a")).replay()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphs.get("b", counting(calls, "b")).replay()
    assert calls == ["a", "a", "b"]  # the warm-up, then each replay


@pytest.mark.usefixtures("without_cuda")
def test_too_little_memory_is_an_error_not_a_slow_run(monkeypatch):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(models.decode.graphs, "capture", failing_capture(error))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Graphs(torch.device("cuda")).get("a", lambda: lambda: None)
