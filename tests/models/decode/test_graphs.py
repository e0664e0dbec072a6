"""Which graphs are made, kept and dropped, with stand-ins; and what a failed capture does."""

import warnings

import pytest
import torch

import models.decode.graphs
from models.decode.graphs import Graphs


def recording(made: list, calls: list, name: str):
    """Return what makes a function; both say in a list that they were called."""

    def make():
        made.append(name)
        return lambda: calls.append(name)

    return make


def test_one_graph_per_key_is_made_and_replayed():
    graphs, made, calls = Graphs(None), [], []
    first = graphs.get("a", recording(made, calls, "a"))
    assert calls == []  # made, not run
    for key in ("a", "b", "a"):
        graphs.get(key, recording(made, calls, key)).replay()
    assert graphs.get("a", recording(made, calls, "other")) is first
    assert calls == ["a", "b", "a"] and made == ["a", "b"]


def test_the_one_that_was_not_used_longest_leaves():
    graphs, made = Graphs(None, limit=2), []

    def get(key):
        return graphs.get(key, recording(made, [], key))

    kept = get("a")
    get("b")
    get("a")
    get("c")
    assert get("a") is kept and made == ["a", "b", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]
    graphs.clear()
    assert get("a") is not kept


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
        graphs.get("a", recording([], calls, "a")).replay()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphs.get("b", recording([], calls, "b")).replay()
    assert calls == ["a", "a", "b"]  # the warm-up, then each replay


@pytest.mark.usefixtures("without_cuda")
def test_too_little_memory_is_an_error_not_a_slow_run(monkeypatch):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(models.decode.graphs, "capture", failing_capture(error))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Graphs(torch.device("cuda")).get("a", lambda: lambda: None)
