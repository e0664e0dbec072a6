"""A run that goes on has each of its steps exactly once; what its disk has lost is told."""

import json
import os

import pytest

from grpo.run.directory import RunDirectory
from grpo.run.line_log import keep_steps, look_through


def line(step: int, index: int = 0) -> bytes:
    return json.dumps({"step": step, "index": index, "text": "\u2028 \u00e4"}).encode() + b"\n"


def steps_of(file) -> list[int]:
    return [json.loads(text)["step"] for text in file.read_bytes().splitlines()]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "metrics.jsonl"


TAILS = {
    "whole lines": line(4) + line(5),
    "half a line": line(4)[:-5],
    "inside a character": '{"step": 4, "text": "\u00e4'.encode()[:-1],
    "zeros": b"\0" * 5_000,
    "other bytes": b"\xff\xfe\n\n[1]\n",
    "the same steps again": line(2) + line(3),
    "nothing": b"",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_what_lies_behind_the_checkpoint_is_cut(file, tail):
    kept = b"".join(map(line, (1, 2, 3)))
    file.write_bytes(kept + tail)
    found = keep_steps(file, 3, 1)
    assert file.read_bytes() == kept
    assert not found.damaged and not found.missing
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_last_line_that_lost_its_end_gets_it_back(file):
    file.write_bytes(b"".join(map(line, (1, 2, 3)))[:-1])
    assert not keep_steps(file, 3, 1).missing
    assert file.read_bytes() == b"".join(map(line, (1, 2, 3)))


DAMAGES = {  # content, the numbers of damaged lines, missing steps, what stays
    "cut short": (line(1) + b'{"step": 2, "te\n' + line(3), [2], [2], [1, 3]),
    "inside a character": (line(1) + b'{"step": 2, "\xc3\n' + line(3), [2], [2], [1, 3]),
    "zeroed": (line(1) + b"\0" * 80 + b"\n" + line(3), [2], [2], [1, 3]),
    "no object": (line(1) + b"2\n" + line(3), [2], [2], [1, 3]),
    "of no step": (line(1) + b'{"step": "2"}\n' + line(3), [2], [2], [1, 3]),
    "a step too many": (line(1) + line(1) + line(2) + line(3), [2], [], [1, 2, 3]),
    "two writers": (b"".join(map(line, (1, 2, 1, 3, 2))), [3], [], [1, 2, 3]),
    "glued": (line(1)[:-1] + line(2)[:-1] + line(3), [], [], [1, 2, 3]),
    "glued to half a line": (line(1) + b'{"step": 2, "te' + line(3), [2], [2], [1, 3]),
    "glued over the checkpoint": (line(1) + line(2) + line(3)[:-1] + line(4), [], [], [1, 2, 3]),
    "a step left out": (line(1) + line(3), [], [2], [1, 3]),
    "the last ones left out": (line(1), [], [2, 3], [1]),
    "empty": (b"", [], [1, 2, 3], []),
    "an empty line": (line(1) + b"\n" + line(2) + line(3), [2], [], [1, 2, 3]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_before_the_checkpoint_is_told_and_kept_aside(file, damage):
    content, damaged, missing, stays = damage
    file.write_bytes(content)
    looked = look_through(file, 3, 1)
    assert file.read_bytes() == content
    found = keep_steps(file, 3, 1)
    assert found == looked and (found.damaged, found.missing) == (damaged, missing)
    assert steps_of(file) == stays
    aside = file.with_name("metrics.jsonl.damaged")
    assert aside.is_file() == bool(damaged)
    for number in damaged:
        assert content.split(b"\n")[number - 1] in aside.read_bytes()
    once_more = keep_steps(file, 3, 1)
    assert not once_more.edits and once_more.missing == missing


def test_a_step_has_as_many_lines_as_it_sampled(file):
    whole = [line(step, index) for step in (1, 2, 3) for index in range(4)]
    file.write_bytes(b"".join(whole) + line(4, 0) + line(4, 1)[:9])
    assert not keep_steps(file, 3, 4).missing
    assert file.read_bytes() == b"".join(whole)
    file.write_bytes(b"".join(whole[:6] + whole[7:]))
    assert keep_steps(file, 3, 4).missing == [2]
    file.write_bytes(b"".join(whole[:6] + whole[5:]))  # one of them twice
    assert keep_steps(file, 3, 4).damaged == [9]


def test_nothing_is_written_where_nothing_needs_to_be(file):
    file.write_bytes(line(1) + line(2))
    os.utime(file, (1, 1))
    keep_steps(file, 2, 1)
    assert file.stat().st_mtime == 1
    keep_steps(file.with_name("not there"), 0, 1)


def test_a_large_file_is_cut_in_place_and_never_read_whole(file):
    with file.open("wb") as stream:
        stream.write(line(1))
        stream.truncate(1 << 37)  # 137 GB of zeros behind it, of which a disk has none
    inode = file.stat().st_ino
    keep_steps(file, 1, 1)
    assert file.read_bytes() == line(1) and file.stat().st_ino == inode


CONFIG = {"method": "grpo", "prompts_per_step": 1, "group_size": 2}


def description(*resumed) -> dict:
    return {"config": CONFIG, "resumed": list(resumed), "total_steps": 9}


def test_what_is_lost_is_told_once_and_noted_in_run_json(tmp_path, capsys):
    run = RunDirectory(tmp_path)
    for step in range(1, 6):
        run.append_step({"step": step}, [{"step": step, "index": index} for index in range(2)])
    file = tmp_path / "metrics.jsonl"
    content = file.read_bytes()
    file.write_bytes(content.replace(b'{"step": 2}', b'{"st\xffp": 2}'))
    (tmp_path / "rollouts.jsonl").unlink()  # to free its gigabytes
    run.begin(description({"from_step": 4}), 4)
    told = capsys.readouterr().err
    assert f"{file}: line 2 damaged, moved to metrics.jsonl.damaged; step 2 missing" in told
    assert "rollouts.jsonl: steps 1-4 missing or not complete" in told
    assert f"--resume {tmp_path} --resume-from step-.." in told
    lost = run.read()["resumed"][-1]["lost"]
    assert lost == {
        "metrics.jsonl": {"damaged_lines": [2], "missing_steps": [[2, 2]]},
        "rollouts.jsonl": {"damaged_lines": [], "missing_steps": [[1, 4]]},
    }
    assert [row["step"] for row in run.read_metrics()] == [1, 3, 4]
    run.begin(description(*run.read()["resumed"], {"from_step": 4}), 4)
    assert "warning" not in capsys.readouterr().err
    assert "lost" not in run.read()["resumed"][-1]


def test_a_run_without_sampling_misses_no_rollouts(tmp_path, capsys):
    run = RunDirectory(tmp_path)
    run.append_step({"step": 1})
    run.begin(description({"from_step": 1}) | {"config": CONFIG | {"method": "sft"}}, 1)
    assert "warning" not in capsys.readouterr().err and not (tmp_path / "rollouts.jsonl").exists()


def test_other_files_among_the_evaluations_stay(tmp_path):
    (tmp_path / "eval").mkdir()
    for name in ("step-000004.json", "step-backup.json", "step-1000000.json"):
        (tmp_path / "eval" / name).write_text("{}")
    RunDirectory(tmp_path).cut_after(4, 0)
    kept = sorted(file.name for file in (tmp_path / "eval").iterdir())
    assert kept == ["step-000004.json", "step-backup.json"]
