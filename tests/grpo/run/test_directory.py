"""The files of a run: fresh folders, whole replacements, and what a resumed run forgets."""

import json
import os
from contextlib import ExitStack, contextmanager

import pytest

from grpo.run.directory import RunDirectory
from grpo.run.free_place import own_fresh
from process.owner import OwnedError


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_default_is_a_fresh_folder_every_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (RunDirectory.choose("", "Qwen/Qwen2-VL-2B") for _ in range(2))
    with first.owned(), second.owned():
        assert first.path.is_dir() and second.path.is_dir()
    assert first.path != second.path
    assert first.path.parent.name == "runs" and first.path.name.count("Qwen2-VL-2B") == 1


def test_runs_that_start_together_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = [RunDirectory.choose("", "tiny") for _ in range(3)]
    with ExitStack() as stack:
        for run in chosen:
            stack.enter_context(run.owned())
    assert len({run.path for run in chosen}) == 3


def test_a_folder_that_was_filled_meanwhile_is_refused(tmp_path):
    run = RunDirectory.choose(str(tmp_path / "out"), "m")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_text("")
    with pytest.raises(ValueError, match="is not empty"), run.owned():
        pass


def test_a_folder_with_another_run_is_refused(tmp_path):
    run = RunDirectory(tmp_path)
    run.write({"config": {}})
    with pytest.raises(ValueError, match=r"another run: name another --output-dir, or remove it"):
        RunDirectory.choose(str(tmp_path), "m")
    (tmp_path / "checkpoints" / "step-000001").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds another run: name another --output-dir, or go on"):
        RunDirectory.choose(str(tmp_path), "m")


def test_a_folder_with_anything_in_it_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: name another --output-dir"):
        RunDirectory.choose(str(tmp_path), "m")


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "out"
    file.write_text("")
    with pytest.raises(ValueError, match="is a file"):
        RunDirectory.choose(str(file), "m")
    with pytest.raises(ValueError, match="cannot be made"), RunDirectory(file / "below").owned():
        pass


def test_choosing_makes_nothing(tmp_path):
    RunDirectory.choose(str(tmp_path / "new"), "m")
    assert not (tmp_path / "new").exists()


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"--resume .* name the directory of a run"):
        RunDirectory.open(str(tmp_path))
    os.mkfifo(tmp_path / "run.json")  # which would be waited for
    with pytest.raises(ValueError, match=r"run\.json: it is a named pipe"):
        RunDirectory.open(str(tmp_path))
    (tmp_path / "run.json").unlink()
    (tmp_path / "run.json").write_text('{"config": [], "checksums": {}}')
    with pytest.raises(ValueError, match=r"config of run\.json is no dict"):
        RunDirectory.open(str(tmp_path))


def test_what_came_after_the_checkpoint_is_cut(tmp_path):
    run = RunDirectory(tmp_path)
    for step in range(1, 6):
        text = "a line separator \u2028 inside"
        rows = [{"step": step, "index": i, "completion": text} for i in range(2)]
        run.append_step({"step": step, "reward": 0.5}, rows)
        run.write_evaluation(step, {"overall": step})
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3, 4, 5]
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "rew')  # the line that an interruption cut short
    run.cut_after(3, rollouts_per_step=2)
    assert [row["step"] for row in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    with (tmp_path / "rollouts.jsonl").open() as rows:
        assert [json.loads(row)["step"] for row in rows] == [1, 1, 2, 2, 3, 3]
    kept = sorted(file.name for file in (tmp_path / "eval").iterdir())
    assert kept == ["step-000001.json", "step-000002.json", "step-000003.json"]
    assert run.read_evaluation(3) == {"overall": 3} and run.read_evaluation(4) is None


def test_a_run_that_has_not_begun_has_no_metrics(tmp_path):
    assert list(RunDirectory(tmp_path).read_metrics()) == []


def test_a_number_that_is_not_finite_is_null_in_a_file(tmp_path):
    run = RunDirectory(tmp_path)
    metrics = {"step": 1, "loss": float("nan"), "kl": float("-inf"), "reward": 0.5}
    row = {"step": 1, "advantage": float("inf"), "rewards": {"own": float("nan")}}
    run.append_step(metrics, [row])
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": None, "kl": None, "reward": 0.5}
    ]
    assert lines(tmp_path / "rollouts.jsonl") == [
        {"step": 1, "advantage": None, "rewards": {"own": None}}
    ]
    with pytest.raises(ValueError, match="JSON compliant"):  # no other file may hold one either
        run.write({"config": float("nan")})


def test_a_living_folder_is_never_called_removable(tmp_path):
    RunDirectory(tmp_path).write({"config": {}})
    works = r"process works on .*; let it finish, or end it"
    with RunDirectory(tmp_path).owned(), pytest.raises(ValueError, match=works):
        RunDirectory.choose(str(tmp_path), "m")
    with pytest.raises(ValueError, match="or remove it"):
        RunDirectory.choose(str(tmp_path), "m")


def test_a_fresh_run_starts_where_a_killed_one_had_not_begun(tmp_path):
    for name in (".lock", ".run.json.tmp"):
        (tmp_path / name).write_text("{")
    run = RunDirectory.choose(str(tmp_path), "m")
    with run.owned():
        run.write({"config": {}})
    assert {file.name for file in tmp_path.iterdir()} == {".lock", "run.json"}


def test_a_run_that_goes_on_sweeps_what_killed_ones_left(tmp_path):
    RunDirectory(tmp_path).write({"config": {}})
    left = [
        tmp_path / "checkpoints" / ".step-000002.removed",
        tmp_path / "checkpoints" / ".step-000004.unfinished",
        tmp_path / "eval" / ".step-000004.json.tmp",
    ]
    for place in left:
        place.mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-000003").mkdir()
    with RunDirectory(tmp_path).owned():
        assert not any(place.exists() for place in left)
        assert (tmp_path / "checkpoints" / "step-000003").is_dir()


def test_what_a_run_says_of_itself_is_read_back_and_nothing_before_it_began(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.read() is None
    assert run.read_evaluation(0) is None
    run.write({"config": {}, "total_steps": 3})
    run.write_evaluation(0, {"overall": {"accuracy": 0.5}})
    assert run.read() == {"config": {}, "total_steps": 3}
    assert run.read_evaluation(0) == {"overall": {"accuracy": 0.5}}


def test_evaluations_up_to_the_checkpoint_stay_also_beyond_a_million_steps(tmp_path):
    run = RunDirectory(tmp_path)
    for step in (0, 100, 1_000_000, 1_000_100):
        run.write_evaluation(step, {})
    run.cut_after(1_000_000, rollouts_per_step=0)  # as of the supervised baseline
    names = sorted(file.name for file in (tmp_path / "eval").iterdir())
    assert names == ["step-000000.json", "step-000100.json", "step-1000000.json"]


def test_a_folder_that_another_takes_this_very_moment_is_left_to_it(tmp_path, monkeypatch):
    """Between the look whether it is there and the lock another run may have made it."""

    @contextmanager
    def taken(place):
        if place.name == "out":
            raise OwnedError(f"{place} is in use")
        yield

    monkeypatch.setattr("grpo.run.free_place.owned", taken)
    with ExitStack() as stack:
        assert own_fresh(tmp_path / "out", stack) == tmp_path / "out-2"


SCHEDULES = [
    ({}, "; the learning rate follows 9 steps"),
    ({"lr_schedule": "constant"}, ""),
    ({"beta_schedule": "cosine"}, "; the learning rate and beta follow 9 steps"),
    ({"lr_schedule": "constant", "beta_schedule": "linear"}, "; beta follows 9 steps"),
]


@pytest.mark.parametrize(("changed", "words"), SCHEDULES)
def test_a_run_that_goes_on_says_what_follows_its_length(tmp_path, capsys, changed, words):
    config = {"method": "sft", "lr_schedule": "linear", "beta_schedule": "constant"} | changed
    described = {"config": config, "resumed": [{"from_step": 4}], "total_steps": 9}
    RunDirectory(tmp_path).begin(described, 4)
    assert capsys.readouterr().out.splitlines()[0] == f"resumed after step 4 of 9{words}"
