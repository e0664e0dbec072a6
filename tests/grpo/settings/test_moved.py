"""A resumed run's sources: one by one what they were, wherever they lie, or a helpful message."""

from pathlib import Path

import pytest

from grpo.settings.config import GRPOConfig
from grpo.settings.moved import (
    check_counterparts,
    check_own_rewards,
    check_places,
    first_stems,
    names_now,
)


def config(**settings) -> GRPOConfig:
    return GRPOConfig(**{"model": "tiny", "train_json": ("a.json", "b.json")} | settings)


def test_the_same_number_of_files_and_the_same_functions_are_the_same_run():
    stored = config(rewards=("accuracy", "old/mine.py:length"))
    moved = config(train_json=("x/a.json", "x/c.json"), rewards=("accuracy", "new/own.py:length"))
    check_counterparts(stored, moved)
    for now, message in (
        ({"train_json": ("a.json",)}, r"--train-json names 1 files \(a\.json\), the run has 2 \(a"),
        ({"eval_json": ("e.json",)}, r"--eval-json names 1 files \(e\.json\), .* 0 \(none\)"),
        ({"rewards": ("accuracy", "old/mine.py:brevity")}, "--rewards names accuracy, old/mine.py"),
        ({"rewards": ("old/mine.py:length", "accuracy")}, "the same functions in the same order"),
    ):
        with pytest.raises(ValueError, match=f"^cannot resume: .*{message}"):
            check_counterparts(stored, config(**{"rewards": stored.rewards} | now))


def test_what_is_gone_is_named_with_the_flags_that_help(tmp_path):
    here = tmp_path / "here.json"
    here.touch()
    gone = [str(tmp_path / name) for name in ("gone.json", "model", "own.py")]
    run = config(
        model=gone[1], train_json=(str(here), gone[0]), rewards=("accuracy", f"{gone[2]}:length")
    )
    with pytest.raises(ValueError) as caught:
        check_places(run, Path("runs/mine"))
    message = str(caught.value)
    assert all(path in message for path in gone) and str(here) not in message
    assert message.endswith(
        "--resume runs/mine --model PLACE --train-json FILES --rewards FUNCTIONS"
    )


def test_names_that_are_no_absolute_paths_are_not_looked_for():
    # a hub id, the embedded data, a registered reward: none is a path for sure
    check_places(config(model="Qwen/Qwen2-VL-2B-Instruct", train_json=("phantoms:CT",)), Path("r"))


def test_functions_that_stand_in_no_file_are_asked_for_and_strangers_refused():
    run = config(rewards=("accuracy", "short", "own.py:length"))
    known = ("accuracy", "format")
    check_own_rewards(run, ("short",), known, Path("runs/mine"))
    with pytest.raises(ValueError, match=r"functions short were handed in from Python: .*'runs/m"):
        check_own_rewards(run, (), known, Path("runs/mine"))
    with pytest.raises(ValueError, match="the run has no reward functions long, only accuracy, s"):
        check_own_rewards(run, ("short", "long"), known, Path("runs/mine"))


def test_a_checksums_name_is_followed_to_where_its_file_lies_now():
    stored = {
        **{"model": "/old/model", "train_json": ["/old/a.json", "/same/b.json"]},
        **{"eval_json": [], "rewards": ["accuracy", "/old/own.py:length"]},
    }
    now = config(
        model="/new/model",
        train_json=("/new/a.json", "/same/b.json"),
        rewards=("accuracy", "/new/own.py:length"),
    )
    assert names_now(stored, now) == {
        "start model /old/model": "start model /new/model",
        "train data /old/a.json": "train data /new/a.json",
        "reward /old/own.py:length": "reward /new/own.py:length",
    }


def test_ids_begin_with_what_the_files_were_called_at_first():
    named = {"train_json": ["x/CT.json", "x/MRI.json"], "eval_json": ["x/E.json"]}
    assert first_stems({"config": named}) == {"train": ["CT", "MRI"], "eval": ["E"]}
    noted = {"train": ["older"], "eval": []}
    assert first_stems({"config": named, "id_stems": noted}) == noted
