"""Which run a command finds to go on with: in --output-dir, or the one that a start had begun."""

import json
import sys
from dataclasses import asdict

import pytest

from grpo.run.going_on import going_on
from grpo.settings.command_line import AUTO, Asked
from grpo.settings.config import GRPOConfig
from process.ranks import Place

MODULE = sys.modules["grpo.run.going_on"]  # the package calls the function so


def asked(resume=None, given=None, **more) -> Asked:
    return Asked(given or {}, None, trusted=False, resume=resume, **more)


@pytest.fixture
def run(tmp_path):
    """The directory of a run that has written a line, and no checkpoint yet."""
    place = tmp_path / "run"
    place.mkdir()
    config = asdict(GRPOConfig(model="tiny", train_json=("phantoms",), max_steps=8))
    texts = {"prompt_template": "{question}", "version": "0"}
    described = {"config": config, "checksums": {}, "resumed": [], **texts}
    (place / "run.json").write_text(json.dumps(described))
    (place / "metrics.jsonl").write_text('{"step": 1}\n')
    return place


@pytest.fixture
def started_again(run, monkeypatch):
    """As torchrun starts the processes anew, after they had begun that run."""
    monkeypatch.setattr(MODULE, "place", lambda: Place(restarts=1))
    monkeypatch.setattr(MODULE, "noted_before", lambda _: str(run))
    return run


def save(run) -> None:
    (run / "checkpoints" / "step-000005").mkdir(parents=True)


def test_a_first_start_that_names_no_run_begins_one():
    words = asked(given={"output_dir": "out"})
    assert going_on(words) is words


def test_a_run_that_is_named_is_gone_on_with_from_the_checkpoint_that_is_named():
    words = asked("run", resume_from="step-000005")
    assert going_on(words) is words


def test_a_new_start_goes_on_from_the_newest_checkpoint_of_what_the_first_was_told(started_again):
    again = going_on(asked(str(started_again), resume_from="step-000005"))
    assert again.resume == str(started_again) and again.resume_from is None


def test_auto_begins_where_nothing_is(tmp_path):
    place = str(tmp_path / "new")
    found = going_on(asked(AUTO, {"output_dir": place, "max_steps": 9}))
    assert found.resume is None and found.given == {"output_dir": place, "max_steps": 9}


def test_auto_sets_a_run_without_a_checkpoint_aside_and_begins_anew(run, capsys):
    found = going_on(asked(AUTO, {"output_dir": str(run)}))
    assert found.resume is None and found.given["output_dir"] == str(run)
    assert {place.name for place in run.iterdir()} <= {"unsaved", ".lock"}
    assert (run / "unsaved" / "metrics.jsonl").read_text() == '{"step": 1}\n'
    assert "ended before its first checkpoint" in capsys.readouterr().out


def test_auto_goes_on_with_a_run_that_has_a_checkpoint_and_hands_on_what_differs(run):
    save(run)
    given = {"output_dir": str(run), "model": "tiny", "max_steps": 9}
    found = going_on(asked(AUTO, given))
    assert found.resume == str(run) and found.given == {"max_steps": 9}
    assert (run / "metrics.jsonl").is_file()


def test_a_new_start_finds_the_run_whose_folder_nobody_named(started_again):
    save(started_again)
    assert going_on(asked()).resume == str(started_again)


def test_a_new_start_begins_in_the_same_folder_where_nothing_was_saved(started_again):
    found = going_on(asked())
    assert found.resume is None and found.given == {"output_dir": str(started_again)}


def test_a_new_start_of_which_nothing_had_begun_is_as_the_first(monkeypatch):
    monkeypatch.setattr(MODULE, "place", lambda: Place(restarts=1))
    found = going_on(asked())
    assert found.resume is None and found.given == {}
