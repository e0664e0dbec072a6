"""Progress: a bar on a terminal, plain lines in a pipe; no command puts escapes into a log file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

import process.bars
from process.bars import PlainBar, bar
from tests.places import ROOT

UGLY = re.compile("[\r\x1b\x08]")
SHORT = ("--max-completion-tokens", "4", "--device", "cpu")
RUN = (
    *("train.py", "--max-steps", "2", "--prompts-per-step", "2", "--group-size", "2"),
    *("--eval-limit", "4", *SHORT),
)
SCORE = ("evaluate.py", "--limit", "4", "--controls", "blank", *SHORT)
PHANTOMS = ("-m", "data.phantoms", "--rows-per-cell", "1")
CURATE = ("-m", "evaluation.curate", "--model", "tiny", "--json", "phantoms:CT", "--limit", "4",
          "--samples", "2", *SHORT)  # fmt: skip


@pytest.mark.command
@pytest.mark.parametrize("command", [RUN, SCORE, PHANTOMS, CURATE], ids=lambda words: words[-1])
def test_what_goes_into_a_file_is_plain_lines(command, tmp_path):
    result = subprocess.run(
        [sys.executable, *command, "--output-dir", tmp_path / "out"],
        cwd=ROOT,
        capture_output=True,
    )
    printed = (result.stdout + result.stderr).decode()
    assert result.returncode == 0, printed
    assert not UGLY.search(printed), repr(printed)
    if command is RUN:
        assert "steps: 2 of 2, " in printed
    if command is PHANTOMS:
        assert "drawing: 80 of 80, " in printed


@pytest.mark.command
@pytest.mark.parametrize("columns", [0, 80])  # 0: a terminal that tells no width
def test_a_terminal_shows_a_bar_that_fits(columns, tmp_path):
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *PHANTOMS, "--output-dir", tmp_path / "out"],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    shown = b""
    try:
        while piece := os.read(reader, 4096):
            shown += piece
    except OSError:  # the other end is closed: Linux's way to say so
        pass
    os.close(reader)
    assert process.wait() == 0
    drawn = [text for text in re.split("[\r\n]+", shown.decode()) if text.startswith("drawing")]
    assert len(drawn) >= 2 and "100%|█" in drawn[-1] and max(map(len, drawn)) <= 80


def test_a_line_comes_at_intervals_and_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(process.bars, "INTERVAL", 0.0)
    with bar(total=3, desc="asking", unit="question") as progress:
        assert isinstance(progress, PlainBar)
        progress.set_postfix_str("accuracy 50%", refresh=False)
        progress.update()
    monkeypatch.setattr(process.bars, "INTERVAL", 1000.0)
    with bar(total=3, unit="step", leave=False) as progress:
        progress.update(3)
        progress.write("above the bar", file=sys.stderr)
    with bar(total=3, unit="step", initial=1) as progress:
        progress.update(2)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"asking: 1 of 3, 00:00 gone, about 00:00 left, accuracy 50%", lines[-3])
    assert lines[-2] == "above the bar"
    assert lines[-1] == "steps: 3 of 3, 00:00 gone"


def test_nobody_draws_a_bar_of_its_own():
    for package in ("grpo", "models", "data", "evaluation", "rewards"):
        for path in (ROOT / package).rglob("*.py"):
            assert not re.search(r"\btqdm\(", path.read_text(encoding="utf-8")), path
