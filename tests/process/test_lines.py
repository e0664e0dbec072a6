"""Whole lines are added to a file, or none, whatever stands in it and whatever breaks it off."""

import io
import json
import os

import pytest

from process import lines as lines_of
from process.lines import Lines, append_whole


def full_after(monkeypatch, count: int):
    """A disk with so much room: the write that does not fit is short, the next one fails."""
    left = [count]

    class Filling(io.FileIO):
        def write(self, data):
            if not left[0]:
                raise OSError(28, os.strerror(28))
            took = super().write(bytes(data)[: left[0]])
            left[0] -= took
            return took

    def opened(path, mode, buffering):
        assert (mode, buffering) == ("a+b", 0)
        return Filling(path, "a+")

    monkeypatch.setattr(lines_of.Path, "open", opened)
    return left


@pytest.mark.parametrize("room", [0, 1, 12, 13, 20])
def test_a_full_disk_leaves_no_half_line_and_the_lines_wait(tmp_path, monkeypatch, room):
    file = tmp_path / "metrics.jsonl"
    lines = Lines(file)
    lines.add([{"step": 1}])
    lines.write()
    with monkeypatch.context() as patch:
        full_after(patch, room)
        lines.add([{"step": 2}, {"step": 3}])
        with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
            lines.write()
    assert file.read_text() == '{"step": 1}\n'
    lines.add([{"step": 4}])
    lines.to_disk()
    assert [json.loads(line)["step"] for line in file.open()] == [1, 2, 3, 4]


def test_lines_are_added_in_one_write(tmp_path, monkeypatch):
    sizes = []
    real = io.FileIO.write

    class Counting(io.FileIO):
        def write(self, data):
            sizes.append(len(data))
            return real(self, data)

    monkeypatch.setattr(lines_of.Path, "open", lambda path, *_, **__: Counting(path, "a+"))
    append_whole(tmp_path / "a", b'{"a": 1}\n{"a": 2}\n')
    assert sizes == [18]


def test_an_interruption_between_two_writes_leaves_nothing(tmp_path, monkeypatch):
    class Interrupted(io.FileIO):
        def write(self, data):
            super().write(bytes(data)[:5])
            raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b'{"a": 1}\n')
    monkeypatch.setattr(lines_of.Path, "open", lambda path, *_, **__: Interrupted(path, "a"))
    monkeypatch.setattr(lines_of, "_end_of_lines", lambda stream: stream.seek(0, os.SEEK_END))
    with pytest.raises(KeyboardInterrupt):
        append_whole(tmp_path / "a", b'{"a": 2}\n')
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b'{"a": 1}\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b'{"a": 1}', b'{"a": 1}\n'),  # its end alone was lost
        (b'{"a": 1}\n{"a": "\xc3', b'{"a": 1}\n'),  # ends inside a character
        (b'{"a": 1}\n{"a"', b'{"a": 1}\n'),
        (b'{"a"', b""),
        (b'{"a": 1}\n' + b"\0" * 200_000, b'{"a": 1}\n'),  # a file system after a power cut
        (b'{"a": "' + b"x" * 200_000 + b'"}', b'{"a": "' + b"x" * 200_000 + b'"}\n'),
    ],
)
def test_a_last_line_without_its_end_is_mended_before_the_next(tmp_path, before, after):
    (tmp_path / "a").write_bytes(before)
    append_whole(tmp_path / "a", b'{"a": 2}\n')
    assert (tmp_path / "a").read_bytes() == after + b'{"a": 2}\n'


def test_unicode_line_ends_stay_inside_their_line(tmp_path):
    lines = Lines(tmp_path / "a")
    lines.add([{"text": "a\u2028b\u2029c\x85d\ud800", "reward": float("nan")}])
    lines.write()
    (line,) = (tmp_path / "a").open(encoding="utf-8")
    assert json.loads(line) == {"text": "a\u2028b\u2029c\x85d\ud800", "reward": None}
