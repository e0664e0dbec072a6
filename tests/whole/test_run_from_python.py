"""`train.run` and `train.resume`: a run from a notebook, with reward functions of its own."""

import json
import re

import pytest

import train
from grpo.run import FinishedRun
from grpo.settings import GRPOConfig, resolve_config
from tests.places import ROOT

SHORT = {
    **{"model": "tiny", "train_json": ["phantoms:CT"], "eval_json": ["phantoms:CT"]},
    **{"max_steps": 2, "prompts_per_step": 1, "group_size": 2, "max_completion_tokens": 8},
    **{"eval_limit": 2, "eval_blank": False, "device": "cpu", "save_every": 1},
}


def brief(completion: str, example, mode: str) -> float:
    return 1.0 if len(completion) < 80 and mode == "think" and example.modality == "CT" else 0.0


def config(tmp_path, **settings) -> GRPOConfig:
    given = {**SHORT, "output_dir": str(tmp_path / "run"), **settings}
    return resolve_config({k: given[k] for k in given if given[k] is not None}, None)


def rows(finished: FinishedRun) -> list[dict]:
    return [json.loads(line) for line in (finished.directory / "metrics.jsonl").open()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    """A run with an own function beside the usual ones, gone on with for a third step."""
    settings = config(tmp_path_factory.mktemp("python"))
    first = train.run(settings, {"brief": brief})
    return train.resume(first.directory, {"max_steps": 3}, {"brief": brief})


def test_a_run_with_an_own_reward_function_goes_on_with_it(finished):
    assert [row["step"] for row in rows(finished)] == [1, 2, 3]
    for row in rows(finished):
        assert row["reward/brief"] == 1.0  # 8 tokens are brief
        parts = [row[f"reward/{name}"] for name in ("accuracy", "format", "brief")]
        assert row["reward"] == pytest.approx(sum(parts))


def test_what_it_returns_is_what_lies_there(finished):
    description = json.loads((finished.directory / "run.json").read_text())
    assert description["config"]["rewards"] == ["accuracy", "format", "brief"]
    assert "reward brief" in description["checksums"]
    assert finished.steps == 3 and finished.checkpoint.name == "step-000003"
    assert (finished.checkpoint / "model.safetensors").is_file()
    stored = json.loads((finished.directory / "eval" / "step-000003.json").read_text())
    assert finished.after == stored and finished.best is not None
    assert (finished.directory / "report.html").is_file()


def test_the_run_goes_on_only_with_the_functions_that_it_began_with(finished, capsys):
    where = finished.directory
    with pytest.raises(ValueError, match=r"brief were handed in from Python: .*train\.resume\("):
        train.resume(where)
    assert train.main(["--resume", str(where)]) == 2  # the command line can only say so
    assert "brief were handed in from Python" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no reward functions other, only accuracy, format"):
        train.resume(where, {}, {"brief": brief, "other": brief})
    with pytest.raises(ValueError, match=r"reward brief .* changed since the run began"):
        train.resume(where, {}, {"brief": lambda *_: 1.0})


def test_an_own_function_may_stand_instead_of_the_usual_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "_train", lambda origin, _: origin.config)
    alone = train.run(config(tmp_path, rewards=["brief"]), {"brief": brief})
    assert alone.rewards == ("brief",)
    beside = train.run(config(tmp_path, rewards=["brief", "accuracy"]), {"brief": brief})
    assert beside.rewards == ("brief", "accuracy")


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        ({}, {"accuracy": brief}, "own reward function 'accuracy': call it otherwise"),
        ({}, {"a b": brief}, "own reward function 'a b': call it otherwise"),
        ({}, {"two": lambda: 1.0}, "reward 'two' cannot be called as fn"),
        ({}, {"bad": lambda *_: None}, "reward 'bad' returned None"),
        ({"reward_weights": [1.0, 1.0]}, {"brief": brief}, "has 2 numbers for 3 reward"),
        (
            {"method": "sft", "group_size": None},
            {"brief": brief},
            r"\(brief\) are not used by method=sft",
        ),
        ({"train_json": ["none.json"], "image_root": "."}, {}, "none.json"),
        ({"prompt_template": "none.txt"}, {}, "prompt template none.txt cannot be read"),
        ({"model": "./none"}, {}, "none"),
    ],
)
def test_a_mistake_is_an_error_before_anything_is_written(settings, own, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train.run(config(tmp_path, **settings), own)
    assert list(tmp_path.iterdir()) == []


def test_an_output_directory_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes").write_text("")
    with pytest.raises(ValueError, match="is not empty: name another --output-dir"):
        train.run(config(tmp_path))


def test_paths_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(train, "_train", lambda origin, directory: (origin.config, directory.path))
    settings, place = train.run(GRPOConfig(output_dir="~/run", train_json=("~/none.json",)))
    assert place == tmp_path / "run"
    assert settings.train_json == (str(tmp_path / "none.json"),)


def test_who_breaks_a_run_off_learns_how_to_go_on(tmp_path):
    def breaks_off(*_):
        if (tmp_path / "run" / "checkpoints" / "step-000001").exists():
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt) as caught:
        train.run(config(tmp_path, eval_json=[]), {"breaks_off": breaks_off})
    (note,) = caught.value.__notes__
    assert note.startswith("1 of 2 steps are saved, go on with: python ")


def test_the_page_on_runs_shows_a_session_that_works(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "run.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    small = '"prompts_per_step": 1, "group_size": 2, "max_completion_tokens": 8, "max_steps": 2'
    assert '"max_steps": 2' in block
    monkeypatch.chdir(tmp_path)
    session = {"__name__": "notebook"}
    exec(block.replace('"max_steps": 2', small), session)
    finished = session["finished"]
    assert finished.steps == 3
    for row in rows(finished):
        assert row["reward/brief"] == 1.0
