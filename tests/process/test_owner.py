"""One process works in a folder; what a dead one left stops nobody."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from process import owner
from process.leftovers import LOCK, contents
from process.owner import OwnedError, check_free, owned
from tests.places import ROOT

HOLD = """
import sys
from pathlib import Path
from process.owner import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path):
    """A process that owns the folder until the end of the block."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout.readline() == "owned\n"
        yield process
        process.stdin.close()


def test_a_folder_that_is_made_for_nothing_goes_again(tmp_path):
    deep = tmp_path / "runs" / "one"
    with owned(deep):
        assert contents(deep) == []
    assert list(tmp_path.iterdir()) == []
    with owned(deep):
        (deep / "run.json").touch()
    assert contents(deep) == ["run.json"]
    (tmp_path / "empty").mkdir()
    with owned(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()
    with owned(tmp_path / "empty", temporary=True):
        pass
    assert not (tmp_path / "empty").exists()


def test_another_part_of_the_process_is_refused_too(tmp_path):
    found = []

    def ask():
        with pytest.raises(OwnedError) as error, owned(tmp_path):
            pass
        found.append(str(error.value))

    with owned(tmp_path):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert found[0].startswith(f"this process works on {tmp_path}: pid {os.getpid()}")
    with owned(tmp_path):  # it is free again
        pass


@pytest.mark.command
def test_another_process_is_named_with_its_age(tmp_path, monkeypatch):
    with another_process(tmp_path) as process:
        now = owner.time.time()
        monkeypatch.setattr(owner.time, "time", lambda: now + 12 * 60 + 5)
        for refused in (lambda: check_free(tmp_path), lambda: owned(tmp_path).__enter__()):
            with pytest.raises(OwnedError) as error:
                refused()
            told = str(error.value)
            assert told.startswith(f"another process works on {tmp_path}: pid {process.pid} on ")
            assert told.endswith(
                "for 12 minutes; let it finish, or end it, then start the same command again"
            )
    check_free(tmp_path)


@pytest.mark.command
def test_the_folder_of_a_killed_owner_is_taken_over(tmp_path):
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == process.pid
    check_free(tmp_path)
    with owned(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.command
def test_who_only_asks_keeps_nobody_out(tmp_path, monkeypatch):
    with owned(tmp_path):
        (tmp_path / "run.json").touch()
    asking = (tmp_path / LOCK).open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(owner.time, "sleep", lambda seconds: seconds and asking.close())
    with owned(tmp_path):
        pass


@pytest.mark.command
def test_a_started_process_does_not_keep_the_lock(tmp_path):
    with owned(tmp_path):
        words = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        started = subprocess.Popen(words, stdin=subprocess.PIPE, close_fds=False)
    try:
        check_free(tmp_path)
    finally:
        started.communicate()


@pytest.mark.command
def test_a_fork_neither_keeps_the_lock_nor_ends_it(tmp_path):
    (asks, asked), (says, said) = os.pipe(), os.pipe()
    with owned(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                with owned(tmp_path):
                    pass
            except OwnedError:
                os.write(said, b"refused")
            os.read(asks, 1)
            os._exit(0)
        assert os.read(says, 10) == b"refused"
        with pytest.raises(OwnedError), owned(tmp_path):
            pass
    check_free(tmp_path)  # though the child lives
    os.write(asked, b".")
    os.waitpid(child, 0)


@pytest.mark.command
def test_a_fork_that_leaves_the_block_takes_nothing_with_it(tmp_path):
    with owned(tmp_path):
        try:
            child = os.fork()
            if child == 0:
                raise KeyboardInterrupt
            os.waitpid(child, 0)
        except KeyboardInterrupt:
            pass
        if child:
            with pytest.raises(OwnedError):
                check_free(tmp_path)
    if child == 0:
        os._exit(0)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_once(tmp_path, monkeypatch, capsys, number):
    def refuse(_file, _kind):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner.fcntl, "flock", refuse)
    owner._say_unlocked.cache_clear()
    for _ in range(2):
        with owned(tmp_path / "run"):
            (tmp_path / "run" / "run.json").touch()
        check_free(tmp_path / "run")
    assert capsys.readouterr().err.count("knows no locks") == 1


def test_a_lock_whose_folder_went_meanwhile_is_not_taken(tmp_path, monkeypatch):
    folder, real, went = tmp_path / "run", fcntl.flock, []

    def late(number, kind):
        if not went:  # its last owner was just leaving
            went.append(number)
            (folder / LOCK).unlink()
            folder.rmdir()
        real(number, kind)

    monkeypatch.setattr(owner.fcntl, "flock", late)
    with owned(folder):
        assert (folder / LOCK).is_file() and went
        with pytest.raises(OwnedError):
            check_free(folder)


def test_what_dead_owners_left_is_no_content_and_goes(tmp_path):
    left = [".settings.json.tmp", ".run.json.tmp", LOCK]
    for name in left:
        (tmp_path / name).write_text("{")
    (tmp_path / ".step-000007.unfinished").mkdir()
    (tmp_path / ".notes").touch()
    assert contents(tmp_path) == [".notes"]
    with owned(tmp_path):
        assert {entry.name for entry in tmp_path.iterdir()} == {LOCK, ".notes"}


@pytest.mark.parametrize("text", ["", "[1]", '{"pid": "x", "host": "\\u001b[2J", "since": 1}', "{"])
def test_a_lock_that_says_nothing_useful_is_a_lock(tmp_path, text):
    with owned(tmp_path):
        (tmp_path / LOCK).write_text(text)
        with pytest.raises(OwnedError) as error:
            check_free(tmp_path)
    assert str(error.value).startswith(f"another process works on {tmp_path}; let it finish")


def test_a_place_that_cannot_be_used_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be made or written to"), owned(tmp_path / "file"):
        pass


def test_a_pipe_in_the_lock_s_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / LOCK)
    check_free(tmp_path)
