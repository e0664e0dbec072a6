"""The step can be captured: it asks the host for nothing and lives at the same addresses."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import models.decode.layer
from models import load_policy
from models.decode.buffers import Bucket, DecodeBuffers, Views
from models.decode.graphed_step import run_step
from models.decode.layer import FusedWeights
from tests.models.decode.decode_cases import random_ids, unlike_prompts
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model

# reading a value of the device, or a size that depends on one
HOST_READS = (
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::bincount",
)
VIEWS = ("view", "transpose", "t", "slice", "select", "unsqueeze", "expand", "_unsafe_view")
VIEWS += ("detach", "alias", "split", "unbind", "as_strided", "permute", "squeeze")


class Recording(TorchDispatchMode):
    """Every operation with its numbers, its tensors' layouts and the addresses from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self._inside, self._alive = [], set(), []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        assert name not in HOST_READS, name
        if name == "aten::_to_copy":  # to another dtype is a kernel like any other
            assert kwargs.get("device") is None
        entry = [str(function)]
        for value in tree_leaves((args, kwargs or {})):
            if torch.is_tensor(value):
                storage = value.untyped_storage().data_ptr()
                address = None if storage in self._inside else value.data_ptr()
                entry.append((tuple(value.shape), value.stride(), value.dtype, address))
                if address is not None:
                    self._alive.append(value)
            else:
                entry.append(value)
        outside = {tensor.untyped_storage().data_ptr() for tensor in self._alive}
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if tensor.untyped_storage().data_ptr() not in outside:
                self._inside.add(tensor.untyped_storage().data_ptr())
                self._alive.append(tensor)  # so that no other tensor gets its address
        self.operations.append(tuple(entry))
        return result


@pytest.fixture
def running(nano_policy):
    """A state after one token, and its graph."""
    nano_policy.decode_graphs = "stand-in"
    state, _ = nano_policy.prefill(unlike_prompts(nano_policy), [2, 3, 1], 20)
    nano_policy.decode(state, random_ids(6, 1)[:, 0])
    yield nano_policy, state, next(iter(nano_policy._decoder.graphs._graphs.values()))
    nano_policy.decode_graphs = "auto"
    nano_policy.free_decoding()


@torch.no_grad()
def recorded(graph) -> list[tuple]:
    with Recording() as recording:
        graph.replay()
    return recording.operations


def test_a_replay_reads_nothing_of_the_host_that_changes(running):
    """Same operations, numbers, shapes and outside addresses, whatever slot, tokens and rows."""
    policy, state, graph = running
    first = recorded(graph)
    addresses = {entry[3] for operation in first for entry in operation if type(entry) is tuple}
    assert len(first) > 40 and len(addresses) > 20
    policy.decode(state, random_ids(6, 1, seed=1)[:, 0])
    policy.decode(state, random_ids(6, 1, seed=2)[:, 0])
    assert recorded(graph) == first
    policy.prefill(unlike_prompts(policy)[::-1], [1, 2, 3], 20)  # another rollout of the bucket
    assert recorded(graph) == first


@torch.no_grad()
def test_the_counter_on_the_device_says_where_the_token_goes(running):
    policy, _, graph = running
    buffers = policy._decoder.buffers
    buffers.own.zero_()
    for slot in (7, 2):
        buffers.slot.fill_(slot)
        graph.replay()
        written = buffers.own[:, :, :6].abs().amax(dim=(0, 1, 2, 3, 5)) > 0
        assert written.nonzero()[:, 0].tolist() == sorted({7, slot})


@torch.no_grad()
def test_running_it_twice_changes_nothing(running):
    """A warm-up before the capture has no effect of its own."""
    policy, _, graph = running
    buffers = policy._decoder.buffers
    before = buffers.own.clone(), buffers.hidden.clone()
    graph.replay()
    assert torch.equal(buffers.own, before[0])
    assert torch.equal(buffers.hidden, before[1])


@pytest.mark.parametrize("kept", [range(6), (3, 2, 4)], ids=["largest", "smaller"])
def test_a_layer_is_22_kernels(running, monkeypatch, kept):
    """Each costs its launch; an operation that is no view is one kernel on a GPU."""
    policy, state, _ = running
    # one kernel on a GPU, six operations on a CPU
    monkeypatch.setattr(models.decode.layer, "rms_norm", lambda hidden, *_: hidden * 2)
    state.select(torch.tensor(kept))  # a smaller bucket is a view with gaps: still nothing copied
    policy.decode(state, random_ids(len(kept), 1)[:, 0])
    graph = policy._decoder.graphs.get(state._bucket._replace(slots=64), None)

    both, layers = len(kernels(recorded(graph))), policy.text.layers
    policy.text.layers = layers[:1]
    try:
        assert both - len(kernels(recorded(graph))) == 22
    finally:
        policy.text.layers = layers


def kernels(operations: list[tuple]) -> list[str]:
    names = [operation[0].removeprefix("aten.") for operation in operations]
    nothing = (*VIEWS, "empty", "new_empty")
    return [name for name in names if name.split(".")[0] not in nothing]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [6, 3], ids=["largest", "smaller"])
def test_a_layer_in_half_precision_is_27_kernels(family, rows, tmp_path, monkeypatch):
    """On no device at all, which has the products of a GPU: bfloat16 times bfloat16 is float32."""
    policy = load_policy(write_checkpoint(tmp_path, family), dtype="bfloat16").to("meta")
    monkeypatch.setattr(models.decode.layer, "rms_norm", lambda hidden, *_: hidden * 2)
    bucket = Bucket(rows=6, slots=64, prompts=3, prompt_slots=128, cells=3)
    buffers = DecodeBuffers(policy.text, bucket)
    views = Views(buffers, bucket._replace(rows=rows))
    weights = FusedWeights(policy.text, fold_norms=False)

    @torch.no_grad()
    def of_layers(count: int) -> list[str]:
        layers, policy.text.layers = policy.text.layers, policy.text.layers[:count]
        with Recording() as recording:
            run_step(policy.text, weights, views)
        policy.text.layers = layers
        return kernels(recording.operations)

    one, two = of_layers(1), of_layers(2)
    assert len(two) - len(one) == 27
    assert two.count("bmm.dtype") == two.count("bmm.dtype_out") == 2  # scores: prompt's, own
    assert two.count("_to_copy.default") == 2  # the softmax's result
