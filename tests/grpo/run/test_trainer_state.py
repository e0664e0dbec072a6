"""A checkpoint without a manifest, too: what it cannot have been saved with is named by file."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.trainer_state import load_trainer_state
from grpo.settings.config import GRPOConfig

pytestmark = pytest.mark.model

OPTIMIZER, RNG, STATE = "optimizer.safetensors", "rng.safetensors", "state.json"


@pytest.fixture
def optimizer(nano_policy) -> PolicyOptimizer:
    optimizer = PolicyOptimizer(nano_policy, GRPOConfig(), total_steps=10)
    for master in optimizer.masters.values():
        moments = {name: torch.rand_like(master) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}
    return optimizer


def first(tensors, start):
    return next(name for name in sorted(tensors) if name.startswith(start))


def other_shape(tensors):
    name = first(tensors, "exp_avg/")
    tensors[name] = torch.ones(3)


def other_name(tensors):
    tensors["exp_avg/other.weight"] = tensors.pop(first(tensors, "exp_avg/"))


def other_dtype(tensors):
    name = first(tensors, "exp_avg_sq/")
    tensors[name] = tensors[name].double()


def half_of_the_moments(tensors):
    del tensors[first(tensors, "exp_avg_sq/")]


def nan(tensors):
    tensors[first(tensors, "exp_avg/")].view(-1)[0] = torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_shape, r"exp_avg/.* is \(3,\) in torch.float32, not"),
        (other_name, "does not fit the model"),
        (other_dtype, r"in torch.float64, not .* in torch.float32"),
        (half_of_the_moments, "moments only step, exp_avg is there"),
        (nan, "holds NaN or inf in exp_avg/"),
        (dict.clear, "does not fit the model"),
    ],
)
def test_moments_that_cannot_be_its_own_are_refused(
    nano_policy, optimizer, tmp_path, change, message
):
    place = save_checkpoint(tmp_path, 5, nano_policy, optimizer, state={}, card={}, keep=1)
    file = place / "trainer" / OPTIMIZER
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"trainer/{OPTIMIZER}.*{message}"):
        load_trainer_state(place, optimizer)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (STATE, b"[]"),
        (STATE, b'{"step": 5, "bad_steps": [1]}'),
        (STATE, b'{"step": 5, "data_position": "9"}'),
        (STATE, b'{"step": 5, "data_position": -1}'),
        (STATE, b'{"step": 5, "bad_steps": {"total": "x", "in_a_row": 0}}'),
        (STATE, b"\xff"),
        (RNG, b""),
        (RNG, b"\x00" * 5000),
        (OPTIMIZER, b"\x00" * 5000),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_named(nano_policy, optimizer, tmp_path, name, content):
    place = save_checkpoint(tmp_path, 5, nano_policy, optimizer, state={}, card={}, keep=1)
    (place / "trainer" / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"trainer/{name}"):
        load_trainer_state(place, optimizer)


@pytest.mark.parametrize(
    "tensors",
    [{"cpu": torch.zeros(7, dtype=torch.uint8)}, {"cpu": torch.zeros(5056)}, {"x": torch.ones(1)}],
)
def test_a_generator_of_another_kind_is_named(nano_policy, optimizer, tmp_path, tensors):
    place = save_checkpoint(tmp_path, 5, nano_policy, optimizer, state={}, card={}, keep=1)
    save_file(tensors, place / "trainer" / RNG)
    with pytest.raises(ValueError, match=f"trainer/{RNG} holds no state of a generator"):
        load_trainer_state(place, optimizer)
