"""What others named is opened where it is a regular file only: nothing is waited for."""

import ast
import os
import signal
import socket
from pathlib import Path

import pytest

from data.audit.save import read_audit
from data.images import load_image
from data.prompts import prompt_template
from data.reading.readers import parse_rows
from grpo.run.provenance import file_checksum
from grpo.settings.reward_arguments import RewardArguments
from models.files import read_config
from process.regular import (
    NotRegularError,
    check_folder,
    open_regular,
    open_regular_text,
    read_bytes,
    read_text,
)
from process.toml import read_toml_file
from rewards import load_rewards
from tests.places import ROOT


@pytest.fixture(autouse=True)
def _not_for_ever():
    """A read that waits fails instead, after a time that no read takes."""

    def fail(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(place: Path) -> Path:
    os.mkfifo(place)
    return place


def test_a_regular_file_is_read_as_it_is(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("ä\r\nb".encode())
    (tmp_path / "link").symlink_to(file)
    for path in (file, str(file), tmp_path / "link"):
        assert read_bytes(path) == "ä\r\nb".encode()
        assert read_text(path) == "ä\nb"
    with open_regular_text(file) as lines:
        assert list(lines) == ["ä\n", "b"]


def test_a_pipe_a_socket_and_a_device_are_named_and_never_waited_for(tmp_path):
    pipe(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, kind in (("pipe", "a named pipe"), ("link", "a named pipe"), ("socket", "a soc")):
            with pytest.raises(NotRegularError, match=rf"{name}: it is {kind}.* regular file is n"):
                open_regular(tmp_path / name)
    with pytest.raises(NotRegularError, match="it is a device"):
        read_bytes("/dev/zero")


def test_a_process_substitution_is_refused_with_the_way_out():
    reading, writing = os.pipe()
    try:
        with pytest.raises(NotRegularError, match="write what it gives into one, and name that"):
            read_bytes(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_folder_a_missing_file_and_a_dangling_link_raise_what_open_does(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    for name in ("gone", "link"):
        with pytest.raises(FileNotFoundError):
            open_regular(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_raises_what_open_does(tmp_path):
    (tmp_path / "a").touch(mode=0)
    with pytest.raises(PermissionError):
        open_regular(tmp_path / "a")


def test_a_file_that_becomes_a_pipe_between_look_and_opening_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.touch()
    opened = os.open

    def replaced(path, flags):
        file.unlink()
        return opened(pipe(Path(path)), flags)

    monkeypatch.setattr(os, "open", replaced)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(NotRegularError, match="a named pipe"):
        open_regular(file)
    assert len(list(Path("/dev/fd").iterdir())) == before  # and is not left open


READERS = {
    "a data file": lambda path: parse_rows(path, path.parent),
    "an image": lambda path: load_image(path, 56),
    "a prompt template": lambda path: prompt_template("think", path),
    "a TOML file": lambda path: read_toml_file(path, "config a", "none"),
    "a reward file": lambda path: load_rewards([f"{path}:f"], "think"),
    "arguments of rewards": lambda path: RewardArguments.read(str(path)),
    "an earlier audit": read_audit,
}


@pytest.mark.parametrize("what", READERS)
def test_what_a_user_names_is_refused_where_it_is_a_pipe(tmp_path, what):
    with pytest.raises(ValueError, match=r"there is no file|a named pipe, and a regular file is"):
        READERS[what](pipe(tmp_path / "rows.py"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja", "x"])
def test_a_model_directory_with_a_pipe_in_it_is_refused(tmp_path, name):
    pipe(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: it is a named pipe"):
        read_config(tmp_path)


def test_templates_in_a_folder_of_a_model_directory_are_looked_at_too(tmp_path):
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    check_folder(tmp_path)
    pipe(tmp_path / "additional_chat_templates" / "tools.jinja")
    with pytest.raises(ValueError, match=r"tools\.jinja: it is a named pipe"):
        check_folder(tmp_path)


def test_a_checksum_is_of_a_regular_file(tmp_path):
    with pytest.raises(NotRegularError):
        file_checksum(pipe(tmp_path / "model.safetensors"))


# Files that open something otherwise, and why they may.
OTHERWISE = {
    "grpo/logprobs/cuda/compiler.py": "source code of ours, and the system's own compiler",
    "grpo/settings/device_memory.py": "the kernel's own files",
    "evaluation/protocol/worker.py": "the log that it writes to",
    "models/checkpoint/saving.py": "what it has just written",
    "models/checkpoint/sealing.py": "what it has just written",
    "process/apart.py": "the kernel's own files",
    "process/disk.py": "what it has just written, and the kernel's own files",
    "process/owner.py": "its own lock",
    "process/ranks/pulse.py": "the kernel's own files",
    "process/regular.py": "is the one way",
    "process/storage.py": "what it has just written",
    "process/threads.py": "the kernel's own files",
}
NOT_FILES = ("Image.open", "RunDirectory.open")  # the former is given an open file


def readings(file: Path) -> list[str]:
    """Return the calls that open a file to read it, as they are written."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) in NOT_FILES:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [value.value for value in node.args if isinstance(value, ast.Constant)]
        writes = any(str(mode)[:1] in ("w", "a", "x") for mode in modes)
        reads = name in ("read_text", "read_bytes") and isinstance(node.func, ast.Attribute)
        if reads or (name == "open" and not writes):
            found.append(ast.unparse(node))
    return found


def test_nothing_else_opens_a_file_to_read_it():
    rooms = ("data", "evaluation", "grpo", "models", "process", "rewards")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): readings(file) for file in files}
    unexplained = {name: calls for name, calls in found.items() if calls and name not in OTHERWISE}
    assert not unexplained, "use process/regular.py"
