"""What a run that is broken off says: how many steps are saved, and how to go on."""

from dataclasses import dataclass, replace

import pytest

from grpo.run.best import Best
from grpo.run.directory import RunDirectory
from grpo.run.session import Session
from grpo.settings.config import GRPOConfig
from process.memory import DeviceMemoryError, MemoryRanOutError

CONFIG = GRPOConfig(model="tiny", train_json=("phantoms",))


@dataclass
class Running:
    """A trainer, as far as a session asks for one."""

    total_steps: int = 1200
    done: int = 0
    under_way: str = "rollout"
    best: Best | None = None


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


def test_an_error_before_the_run_began_has_nothing_to_add(tmp_path):
    with pytest.raises(ValueError) as caught, Session(CONFIG, RunDirectory(tmp_path)):
        raise ValueError("no data")
    assert not hasattr(caught.value, "__notes__")


def test_a_folder_that_could_not_be_made_is_not_to_be_removed(tmp_path):
    session = Session(CONFIG, RunDirectory(tmp_path / "never"), Running())
    assert session.saved() is None
    (tmp_path / "never").mkdir()
    (tmp_path / "never" / "run.json").write_text("{}")
    said = session.saved()
    assert said == f"no step is saved: remove {tmp_path / 'never'}, and start the run anew"


@pytest.mark.parametrize(
    ("settings", "words", "absent"),
    [
        (
            {"beta": 0.02, "gradient_checkpointing": False},
            [
                *("--gradient-checkpointing", "--reference-device cpu", "--group-size"),
                *("--freeze", "--offload-optimizer", "--optimizer adamw_8bit"),
            ],
            [],
        ),
        ({"beta": 0.0, "optimizer": "adamw_8bit"}, [], ["--offload-optimizer", "adamw_8bit"]),
        ({"beta": 0.0, "offload_optimizer": True}, [], ["--offload-optimizer", "adamw_8bit"]),
        (
            {"beta": 0.0, "gradient_checkpointing": True, "freeze_vision": True},
            ["--micro-batch-tokens", "--prompts-per-step"],
            ["--gradient-checkpointing", "--reference-device", "--freeze-vision"],
        ),
        ({"beta": 0.02, "reference_device": "cpu"}, ["--group-size"], ["--reference-device"]),
        (
            {"method": "sft", "mode": "no_think", "beta": 0.0},
            ["--prompts-per-step or --image-size"],
            ["--group-size", "--reference-device"],
        ),
    ],
)
def test_what_can_be_lowered_is_named_and_what_is_low_already_is_not(
    tmp_path, settings, words, absent
):
    config = replace(CONFIG, device="cuda", **settings)
    session = Session(config, RunDirectory(tmp_path), Running(under_way="update"))
    with pytest.raises(DeviceMemoryError) as caught, session:
        raise OutOfMemoryError("tried to allocate 2 GB\nof a table")
    message = str(caught.value)
    assert "out of memory, during update (tried to allocate 2 GB)" in message
    assert isinstance(caught.value.__cause__, OutOfMemoryError)
    assert all(word in message for word in words), message
    assert not any(word in message for word in absent), message


def test_memory_that_is_full_while_loading_is_called_that(tmp_path):
    with (
        pytest.raises(DeviceMemoryError, match="during loading"),
        Session(CONFIG, RunDirectory(tmp_path)),
    ):
        raise OutOfMemoryError("full")


@pytest.mark.parametrize(
    ("settings", "words", "absent"),
    [
        (
            {"device": "cpu", "reference_device": "cpu", "gradient_checkpointing": False},
            ["time, also with --resume: free memory, lower --micro-b", "--gradient-checkpointing"],
            ["--reference-device"],
        ),
        (
            {"device": "cuda", "reference_device": "cuda"},
            ["time, also with --resume: free memory. Only in a new run: a smaller --prompts-per"],
            ["--micro-batch-tokens", "--freeze-vision", "--reference-device"],
        ),
    ],
)
def test_this_machines_memory_is_told_from_the_devices(tmp_path, settings, words, absent):
    config = replace(CONFIG, beta=0.02, **settings)
    with (
        pytest.raises(MemoryRanOutError) as caught,
        Session(config, RunDirectory(tmp_path), Running(under_way="update")),
    ):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    message = str(caught.value)
    assert message.startswith("this machine's memory ran out, during update (DefaultCPUAllocator")
    assert all(word in message for word in words), message
    assert not any(word in message for word in absent), message


def session_of(run, monkeypatch, *, weights_only: bool) -> Session:
    """A session whose trainer has done 7 steps, the first 5 of which are saved."""
    (run / "checkpoints" / "step-000005").mkdir(parents=True)
    monkeypatch.setattr("grpo.run.session.has_weights_only", lambda _place: weights_only)
    return Session(CONFIG, RunDirectory(run), Running(total_steps=9, done=7))


def test_an_error_says_what_is_saved_what_is_not_and_how_to_go_on(tmp_path, monkeypatch):
    session = session_of(tmp_path, monkeypatch, weights_only=False)
    with pytest.raises(ValueError) as caught, session:
        raise ValueError("a reward failed")
    [note] = caught.value.__notes__
    assert note.startswith("5 of 9 steps are saved and 2 more are not kept, go on with: ")
    assert note.endswith(f"train.py --resume {tmp_path}")
    session.trainer.under_way = "saving"
    assert "2 more are not kept (step-000007 was being written), go on" in session.saved()
    session.trainer.done = 5
    assert session.saved().startswith("5 of 9 steps are saved, go on with: ")


def test_weights_that_are_saved_alone_are_for_a_new_run(tmp_path, monkeypatch):
    said = session_of(tmp_path, monkeypatch, weights_only=True).saved()
    assert said.startswith("of 5 of 9 steps the weights are saved (--save-weights-only), which no")
    assert said.endswith(f"with --model {tmp_path / 'checkpoints' / 'step-000005'}")
