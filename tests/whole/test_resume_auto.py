"""--resume auto: the same command begins a run, goes on with it, and is done with it."""

import json
import os
import signal

import pytest

import train
from grpo.run.directory import RunDirectory

SMALL = ["--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device", "cpu"]
SMALL += ["--max-completion-tokens", "4", "--max-steps", "3", "--prompts-per-step", "1"]
SMALL += ["--group-size", "2", "--save-every", "1", "--beta", "0"]


def steps(out) -> list[int]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["step"] for line in lines]


def ask_after(patch, step: int) -> None:
    real = RunDirectory.append_step

    def asked(self, metrics, rollouts=()):
        real(self, metrics, rollouts)
        if metrics["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(RunDirectory, "append_step", asked)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was broken off after two steps, and finished by the same command."""
    out = tmp_path_factory.mktemp("auto") / "out"
    words = [*SMALL, "--resume", "auto", "--output-dir", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        ask_after(patch, 2)
        assert train.main(words) == 143
    assert steps(out) == [1, 2]
    assert train.main(words) == 0
    return out, words


def test_the_same_command_goes_on_and_then_has_nothing_left_to_do(finished, capsys):
    out, words = finished
    assert steps(out) == [1, 2, 3]
    assert [one["from_step"] for one in RunDirectory(out).read()["resumed"]] == [2]
    assert train.main(words) == 0
    assert steps(out) == [1, 2, 3] and "going on from" in capsys.readouterr().out


def test_what_changes_nothing_that_is_learned_may_differ(finished):
    out, words = finished
    assert train.main([*words, "--max-steps", "4", "--save-every", "2"]) == 0
    assert steps(out) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--group-size", "4"], "--group-size cannot change when a run is resumed"),
        (["--seed", "7", "--mode", "think"], "--seed cannot change when a run is resumed"),
    ],
)
def test_a_setting_that_changes_what_is_learned_is_refused_by_name(finished, capsys, flags, told):
    assert train.main([*finished[1], *flags]) == 2
    assert told in capsys.readouterr().err


def test_a_settings_file_is_compared_as_flags_are(finished, tmp_path, capsys):
    (tmp_path / "own.toml").write_text("temperature = 0.5", encoding="utf-8")
    assert train.main([*finished[1], "--config", str(tmp_path / "own.toml")]) == 2
    assert "--temperature cannot change" in capsys.readouterr().err


def test_without_a_checkpoint_the_run_begins_anew_and_its_record_is_kept(tmp_path, capsys):
    out = tmp_path / "out"
    run = RunDirectory(out)
    out.mkdir()
    run.write({"config": {}})
    run.append_step({"step": 1})
    words = [*SMALL, "--max-steps", "1", "--resume", "auto", "--output-dir", str(out)]
    assert train.main(words) == 0
    assert f"its record is now {out / 'unsaved'}" in capsys.readouterr().out
    assert steps(out) == [1] and steps(out / "unsaved") == [1]
    assert train.main(words) == 0  # and goes on beside it


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--resume", "auto"], "--resume auto goes on in --output-dir: give that too"),
        (
            ["--resume", "auto", "--resume-from", "step-000001", "--output-dir", "x"],
            "--resume auto goes on from the newest checkpoint",
        ),
    ],
)
def test_what_it_needs_is_told_before_anything_is_read(capsys, flags, told):
    assert train.main(flags) == 2
    assert told in capsys.readouterr().err


def test_a_directory_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    assert train.main([*SMALL, "--resume", "auto", "--output-dir", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
