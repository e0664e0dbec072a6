"""Two commands on one directory: one works, the other says who does; reading is free to all."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evaluate
import evaluation.curate.__main__
import train
from evaluation.answers.unfinished import unfinished_folder
from evaluation.report.write import write_report
from process.leftovers import LOCK
from process.owner import owned
from tests.places import ROOT

SMALL = ["--model", "tiny", "--image-size", "56", "--max-completion-tokens", "4"]
RUN = [
    *(*SMALL, "--device", "cpu", "--train-json", "phantoms:CT", "--prompts-per-step", "1"),
    *("--group-size", "2", "--warmup-steps", "0", "--rewards", "reward.py:length"),
]

# A reward that waits for a file, where it is told to: the run is living until then.
REWARD = """
import os, time
from pathlib import Path

def length(completion, example, mode):
    file = os.environ.get("WAIT_FOR")
    end = time.monotonic() + 300
    while file and not Path(file).exists() and time.monotonic() < end:
        time.sleep(0.05)
    return len(completion) % 3
"""


def start(folder: Path, *words: str, wait_for: str = "") -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment |= {"WAIT_FOR": str(folder / wait_for)} if wait_for else {}
    command = [sys.executable, str(ROOT / "train.py"), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe)


@pytest.mark.slow
def test_of_two_that_go_on_with_one_run_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("reward.py").write_text(REWARD)
    assert train.main([*RUN, "--max-steps", "2", "--output-dir", "run"]) == 0
    words = ("--resume", "run", "--max-steps", "4", "--trust-reward-file")
    living = start(tmp_path, *words, wait_for="go")
    try:
        while living.poll() is None and not Path("run", LOCK).read_bytes():
            time.sleep(0.05)
        second, fresh = start(tmp_path, *words), start(tmp_path, *RUN, "--output-dir", "run")
        for process in (second, fresh):
            told = process.communicate()[1].decode()
            assert process.returncode == 2
            assert f"another process works on run: pid {living.pid} on " in told
            assert "let it finish, or end it" in told and "remove" not in told
            assert "Traceback" not in told
        assert len(Path("run/metrics.jsonl").read_bytes().splitlines()) == 2
        assert write_report("run").path.is_file()  # who reads needs no lock
        Path("go").touch()
        told = living.communicate()[1].decode()
        assert living.returncode == 0, told
    finally:
        living.kill()
    lines = Path("run/metrics.jsonl").read_bytes().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [1, 2, 3, 4] and Path("run", LOCK).read_bytes() == b""


@pytest.mark.parametrize("name", ["evaluate", "matrix", "curate"])
def test_another_command_at_work_on_the_same_output_is_told_of(name, tmp_path, capsys):
    out = tmp_path / "out"
    command, words, place = {
        "evaluate": (evaluate.main, ["--json", "phantoms:CT"], unfinished_folder(out)),
        "matrix": (evaluate.main, ["--json", "phantoms:CT", "--models", "base=tiny"], out),
        "curate": (evaluation.curate.__main__.main, ["--json", "phantoms:CT"], out),
    }[name]
    flags = [*(SMALL[2:] if name == "matrix" else SMALL), *words, "--output-dir", str(out)]
    with owned(place):
        assert command(["matrix", *flags] if name == "matrix" else flags) == 2
        assert f"process works on {out}: pid {os.getpid()}" in capsys.readouterr().err
        assert [file.name for file in place.iterdir()] == [LOCK]
