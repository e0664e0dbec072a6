"""A run that ended before its first checkpoint: its record is kept, and its directory is free."""

import pytest

from grpo.run.directory import RunDirectory
from grpo.run.unsaved import set_unsaved_aside
from process.owner import owned


def begin(path, *, steps: int) -> None:
    run = RunDirectory(path)
    path.mkdir(exist_ok=True)
    run.write({"config": {}, "steps": steps})
    (path / "checkpoints").mkdir()
    for step in range(1, steps + 1):
        run.append_step({"step": step})


def test_what_was_written_is_moved_whole_and_the_folder_takes_a_fresh_run(tmp_path, capsys):
    out = tmp_path / "out"
    for number, name in enumerate(("unsaved", "unsaved-2"), 1):
        begin(out, steps=number)
        (out / "notes.txt").write_text("mine")
        set_unsaved_aside(out)
        assert f"its record is now {out / name}" in capsys.readouterr().out
        assert sorted(file.name for file in (out / name).iterdir()) == [
            "checkpoints",
            "metrics.jsonl",
            "notes.txt",
            "run.json",
        ]
        assert len((out / name / "metrics.jsonl").read_text().splitlines()) == number
    RunDirectory.choose(str(out), "m")


def test_a_start_that_left_no_line_goes_without_a_trace(tmp_path, capsys):
    out = tmp_path / "out"
    begin(out, steps=0)
    (out / "metrics.jsonl").touch()
    set_unsaved_aside(out)
    assert [file.name for file in out.iterdir() if file.name != ".lock"] == []
    assert capsys.readouterr().out == ""


def test_an_evaluation_of_the_start_model_is_a_record(tmp_path):
    out = tmp_path / "out"
    begin(out, steps=0)
    RunDirectory(out).write_evaluation(0, {"overall": {}})
    set_unsaved_aside(out)
    assert (out / "unsaved" / "eval" / "step-000000.json").is_file()


def test_broken_off_halfway_the_next_start_does_the_rest(tmp_path, monkeypatch):
    out = tmp_path / "out"
    begin(out, steps=2)
    real = type(out).rename

    def broken(self, target):
        if self.name == "run.json":
            raise OSError("killed")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(out), "rename", broken)
        with pytest.raises(OSError, match="killed"):
            set_unsaved_aside(out)
    assert (out / "run.json").is_file()
    set_unsaved_aside(out)
    RunDirectory.choose(str(out), "m")
    assert (out / "unsaved" / "metrics.jsonl").is_file()


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path):
    begin(tmp_path, steps=1)
    with owned(tmp_path), pytest.raises(ValueError, match="process works on"):
        set_unsaved_aside(tmp_path)
    assert (tmp_path / "metrics.jsonl").is_file()
