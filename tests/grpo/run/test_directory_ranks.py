"""Of several processes the first one has the run's directory; all are told of it the same."""

import json
import re
from pathlib import Path

import pytest

from tests.whole.torchrun import run

pytestmark = pytest.mark.command


def test_the_first_process_writes_and_all_are_told_and_fail_the_same(tmp_path: Path) -> None:
    ended = run(["-m", "tests.grpo.run.directory_of_two", str(tmp_path)]).check()
    said = [json.loads(line) for line in ended.out.splitlines() if line.startswith("{")]
    assert len(said) == 2
    first, other = sorted(said, key=lambda one: not one["files"])
    path = first["path"]
    assert re.fullmatch(r"runs/[\d-]+-model", path) and other["path"] == path
    assert other["files"] == []
    kept = {"run.json", "metrics.jsonl", "rollouts.jsonl", "eval/step-000000.json", ".lock"}
    assert set(first["files"]) == {f"{path}/{name}" for name in kept}
    for one in said:
        assert one["evaluations"] == [{"overall": {"accuracy": 0.5}}, None]
        assert one["opened"] == [path, True]
        assert "holds another run" in one["refused"]
    assert other["refused"] == f"rank 0: {first['refused']}"
    assert "run directory: " + path in ended.out and ended.out.count("run directory:") == 2
    folder = tmp_path / "disk-of-0" / path
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1  # cut behind step 1
