"""What a report reads of a directory that someone else filled, and what it leaves out."""

import json
import os

import pytest

from evaluation.report import run_files
from evaluation.report.__main__ import main
from evaluation.report.rollout_groups import edge_steps
from evaluation.report.run_files import DamagedFileError, RunFiles
from evaluation.report.run_page import check_metrics
from evaluation.report.write import write_report
from process.shown import shown_line
from tests.evaluation.report.test_report import checked, rollout_row, write_lines

SECRET = "the secret of another folder"


@pytest.fixture
def foreign(tmp_path):
    """Someone's run, and beside it what is none of theirs."""
    (tmp_path / "secret.json").write_text(json.dumps({"step": 1, "config": {}, "x": SECRET}))
    run = tmp_path / "run"
    (run / "eval").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    (run / "profile").mkdir()
    about = {"config": {"model": "tiny"}, "prompt_template": "{question}"}
    (run / "run.json").write_text(json.dumps(about))
    return run


def left_out(run):
    """Write the report; return what it says that it left out."""
    report = write_report(run)
    page = checked(report)
    assert SECRET not in page.text
    for sentence in report.left_out:
        assert sentence in page.text
    return list(report.left_out)


NAMES = ["metrics.jsonl", "rollouts.jsonl", "eval/step-000001.json", "checkpoints/best.json",
         "profile/table.txt"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_link_out_of_the_directory_is_not_followed_but_named(foreign, name):
    (foreign / name).symlink_to(foreign.parent / "secret.json")
    (found,) = left_out(foreign)
    assert found.startswith("left out, files: 1; the first: ") and name in found
    assert "is a link that leads out of" in found


def test_a_link_out_in_the_place_of_run_json_stops_the_report(foreign, capsys):
    (foreign / "run.json").unlink()
    (foreign / "run.json").symlink_to(foreign.parent / "secret.json")
    assert main([str(foreign)]) == 2
    assert "is a link that leads out of" in capsys.readouterr().err


def test_a_link_within_the_directory_is_followed(foreign):
    write_lines(foreign / "real.jsonl", [{"step": 7, "reward": 0.5}])
    (foreign / "metrics.jsonl").symlink_to("real.jsonl")
    report = write_report(foreign)
    assert report.left_out == () and "step 7" in checked(report).text


@pytest.mark.parametrize("name", ["run.json", *NAMES])
def test_a_pipe_is_not_waited_for(foreign, name, capsys):
    (foreign / name).unlink(missing_ok=True)
    os.mkfifo(foreign / name)
    if name == "run.json":
        assert main([str(foreign)]) == 2
        assert "run.json cannot be read" in capsys.readouterr().err
    else:
        (found,) = left_out(foreign)
        assert name in found and "pipe" in found


def test_a_device_and_a_link_in_a_circle_are_left_out(foreign):
    (foreign / "metrics.jsonl").symlink_to("/dev/zero")
    (foreign / "rollouts.jsonl").symlink_to("rollouts.jsonl")
    (foreign / "profile" / "table.txt").mkdir()
    (found,) = left_out(foreign)
    assert found.startswith("left out, files: 3; ")


def test_a_folder_of_figures_that_leads_elsewhere_is_not_written_to(foreign):
    (elsewhere := foreign.parent / "elsewhere").mkdir()
    (foreign / "figures").symlink_to(elsewhere)
    write_lines(foreign / "metrics.jsonl", [{"step": 1, "reward": 0.5}])
    report = write_report(foreign)
    assert list(elsewhere.iterdir()) == []
    assert any("figures is a link" in sentence for sentence in report.left_out)


def test_damaged_lines_are_counted_and_the_first_is_named(foreign, capsys):
    lines = [b'{"step": 1, "reward": 0.25}', b"nonsense", b"7", b'{"step": "two"}', b"\xff\xfe",
             b"[" * 100_000, b'{"step": 3, "reward": {}}', b'{"step": 4, "reward": 1' + b"0" * 400
             + b"}", b'{"step": 5, "reward": 0.75}', b'{"step": 6, "re']  # fmt: skip
    (foreign / "metrics.jsonl").write_bytes(b"\n".join(lines))
    (found,) = left_out(foreign)
    assert found.startswith("left out, lines: 7; the first: ") and "line 2: no JSON" in found
    page = checked(write_report(foreign))
    assert "step 1" in page.text and "step 5" in page.text
    assert main([str(foreign)]) == 0
    assert found in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"completion": 5},
        {"rewards": ["accuracy"]},
        {"rewards": {"accuracy": "high"}},
        {"images": ["a.png", 7]},
        {"options": "AB"},
        {"step": None},
        {"choice": ["A"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_rollout_of_another_form_is_a_damaged_line(foreign, change):
    rows = [rollout_row(1, 0, 0) | change, rollout_row(1, 0, 1)]
    write_lines(foreign / "rollouts.jsonl", rows)
    (found,) = left_out(foreign)
    assert "lines: 1; " in found and "rollouts.jsonl, line 1: not what it should hold" in found
    assert "completion 1/0/1" in checked(write_report(foreign)).text


@pytest.mark.parametrize("name", ["step-000003.json", "step-last.json", "step-1\nerror: \x1b.json"])
def test_an_evaluation_that_cannot_be_read_is_left_out(foreign, name):
    (foreign / "eval" / name).write_text("{")
    (found,) = left_out(foreign)
    assert shown_line(name) in found and "\n" not in found


def test_no_more_of_a_file_is_read_than_is_bounded(foreign, monkeypatch):
    monkeypatch.setattr(run_files, "LINE_BYTES", 100)
    monkeypatch.setattr(run_files, "LINES_BYTES", 300)
    monkeypatch.setattr(run_files, "OBJECT_BYTES", 200)
    files = RunFiles(foreign)
    row = b'{"step": 1}\n'
    content = row + b'"' + b"x" * 150 + b'"\n' + 30 * row
    (foreign / "metrics.jsonl").write_bytes(content)
    assert 1 < len(list(files.lines("metrics.jsonl", check_metrics))) < 20
    lines, whole = files.left_out.sentences
    assert "line 2: it is longer than" in lines and "only its first" in whole
    (foreign / "run.json").write_text('{"config": "' + "x" * 300 + '"}')
    with pytest.raises(DamagedFileError, match="longer than"):
        files.json_object("run.json")


def test_a_file_of_a_terabyte_is_passed_over(foreign, monkeypatch):
    monkeypatch.setattr(run_files, "LINES_BYTES", 1 << 22)
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        with (foreign / name).open("wb") as stream:
            stream.truncate(1 << 40)  # sparse: nothing of it is on the disk
    found = left_out(foreign)
    assert any("metrics.jsonl" in sentence for sentence in found)


def test_of_long_rollouts_the_two_ends_are_read(foreign, monkeypatch):
    from evaluation.report import rollout_groups

    rows = [rollout_row(step, 0, index) for step in range(1, 400) for index in (0, 1)]
    write_lines(foreign / "rollouts.jsonl", rows)
    size = (foreign / "rollouts.jsonl").stat().st_size
    monkeypatch.setattr(rollout_groups, "END_BYTES", size // 50)
    read = []
    monkeypatch.setattr(rollout_groups, "check_rollout", lambda row: read.append(row["step"]))
    first, last = edge_steps(RunFiles(foreign))
    assert [row["step"] for row in (*first, *last)] == [1, 1, 399, 399]
    assert len(read) < len(rows) / 20
