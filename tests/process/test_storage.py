"""A file or a folder comes to its place whole or not at all."""

import ast
import os
from contextlib import suppress
from pathlib import Path

import pytest

from process import storage
from process.leftovers import own_name
from process.storage import replacing, sweep, write_directory, write_json, write_text
from tests.places import ROOT


def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    file = tmp_path / "run.json"
    write_text(file, "old")

    def interrupted(_self, _target):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(file), "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_json_cannot_hold_leaves_the_old_one(tmp_path):
    write_json(tmp_path / "a.json", {"ü": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("inf"))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ü": 1\n}\n'


def test_what_a_killed_process_left_is_written_over(tmp_path):
    left = tmp_path / ".place.tmp"
    left.mkdir()
    (left / "old").write_text("half")
    with replacing(tmp_path / "place") as unfinished:
        assert unfinished == left and not left.exists()
        unfinished.mkdir()
        (unfinished / "new").write_text("whole")
    assert [file.name for file in (tmp_path / "place").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["place"]


def test_a_folder_is_replaced_only_where_that_is_asked_for(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").write_text("precious")

    def replace(**how):
        with replacing(place, **how) as unfinished:
            unfinished.mkdir()
            (unfinished / "new").write_text("")

    with pytest.raises(OSError, match="not empty"):
        replace()
    assert [file.name for file in place.iterdir()] == ["old"]
    replace(over_folder=True)
    assert [file.name for file in place.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [place]


def test_files_are_on_the_disk_before_the_folder_has_its_name(tmp_path, monkeypatch):
    place, seen = tmp_path / "place", []

    def flushed(number):
        name = Path(f"/proc/self/fd/{number}").readlink().relative_to(tmp_path).as_posix()
        seen.append((name, place.exists()))

    monkeypatch.setattr(os, "fsync", flushed)
    with replacing(place, to_disk=True) as unfinished:
        (unfinished / "below").mkdir(parents=True)
        for name in ("one", "below/two"):
            (unfinished / name).write_text("")
    before = {".place.tmp/below/two", ".place.tmp/below", ".place.tmp/one", ".place.tmp"}
    assert {name for name, there in seen if not there} == before
    assert seen[-2:] == [(".place.tmp", False), (".", True)]  # its name comes last


def test_a_directory_is_written_with_all_files_or_not_at_all(tmp_path):
    def refuse(folder):
        assert (folder / "a.txt").read_text() == "ab"
        raise ValueError("the proof fails")

    files = {"a.txt": ["a", "b"]}
    with pytest.raises(ValueError, match="the proof fails"):
        write_directory(tmp_path / "deep" / "out", files, what="the split", finish=refuse)
    assert list((tmp_path / "deep").iterdir()) == []
    proven = {"proof.txt": ["yes"]}
    write_directory(tmp_path / "deep" / "out", files, what="the split", finish=lambda _: proven)
    names = sorted(file.name for file in (tmp_path / "deep" / "out").iterdir())
    assert names == ["a.txt", "proof.txt"]


def renames(file: Path) -> list[int]:
    """Return the lines of calls such as ``path.replace(target)``: str's and dataclasses' differ."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") in ("replace", "rename")
        and len(node.args) == 1
        and not node.keywords
    ]


def test_nothing_else_renames_what_it_wrote():
    rooms = ("data", "evaluation", "grpo", "models", "process", "rewards")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix() for file in files if renames(file)}
    assert found == {"process/storage.py"}


def writes(file: Path) -> list[int]:
    """Return the lines that write a file by a method of its path."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("write_text", "write_bytes")
    ]


def test_a_file_that_stands_alone_is_written_by_the_storage():
    rooms = ("data", "evaluation", "grpo", "models", "process", "rewards")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix() for file in files if writes(file)}
    inside = {  # a place that `replacing` gave, or a folder in one
        "data/verdict_cache.py",
        "evaluation/curate/place.py",
        "evaluation/report/album.py",
        "grpo/logprobs/cuda/compiler.py",
        "models/checkpoint/adapter_files.py",
        "models/checkpoint/saving.py",
        "models/checkpoint/sealing.py",
        "models/prompts/processor.py",
    }
    assert found == inside | {"process/storage.py"}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_that_is_replaced_is_there_at_any_moment(tmp_path, monkeypatch, exchanges):
    """Killed before any rename and after the last one, one of the two has the name, or gets it."""
    if not exchanges:
        monkeypatch.setattr(storage, "exchange", lambda _one, _other: False)

    def replace(kill_at: int) -> str:
        place = tmp_path / str(kill_at) / "step-000001"
        place.mkdir(parents=True)
        (place / "old").touch()
        calls = []

        def killed(path, target):
            calls.append(path)
            if len(calls) > kill_at:
                raise KeyboardInterrupt
            path.rename(target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            patch.setattr(storage, "discard", lambda _: None)  # a killed one tidies nothing
            name = ".step-000001.unfinished"
            with suppress(KeyboardInterrupt), replacing(place, name, over_folder=True) as new:
                new.mkdir()
                (new / "new").touch()
        sweep(place.parent)
        assert [entry.name for entry in place.parent.iterdir()] == [place.name]
        return " ".join(entry.name for entry in place.iterdir())

    found = [replace(kill_at) for kill_at in range(3)]
    assert found == (["new"] * 3 if exchanges else ["old", "old", "new"])


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    left = (".step-000001.removed", ".step-1000000.unfinished", ".run.json.tmp", ".p.png.tmp")
    kept = ("step-000001", ".step-1.removed", ".hidden", ".x.tmp", "a.unfinished", ".lock")
    for name in (*left, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    sweep(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == set(kept)
    sweep(tmp_path / "not there")


def test_what_dead_writers_of_a_directory_left_goes_and_what_living_ones_write_stays(tmp_path):
    place = tmp_path / "out"
    dead, living = (place.with_name(own_name(place)) for _ in range(2))
    dead = dead.with_name(f"{dead.name}0000000")  # no process has such a number
    living = living.with_name(living.name.replace(str(os.getpid()), str(os.getppid())))
    foreign = tmp_path / f".out.unfinished-elsewhere-{os.getpid()}0000000"
    for folder in (dead, living, foreign):
        folder.mkdir()
    write_directory(place, {"a.txt": ["a"]}, what="the audit")
    assert set(tmp_path.iterdir()) == {place, living, foreign}


def test_a_place_that_holds_leftovers_alone_is_empty(tmp_path):
    for name in (".lock", ".run.json.tmp"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).touch()
    write_directory(tmp_path / "out", {"a.txt": ["a"]}, what="the audit")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.txt"]
