"""benchmarks/first_minutes.py: a part that dies or overruns is recorded, and the rest goes on.

The runner is tried with small scripts in place of its parts; the parts with tiny sizes, here.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models import load_policy
from process.signals import Interrupted
from tests.places import ROOT

pytestmark = pytest.mark.model

BENCHMARKS = ROOT / "benchmarks"
# what every script below begins with: `tell` writes what was found so far
HEAD = """
import json, os, signal, subprocess, sys, time
file = sys.argv[sys.argv.index("--found") + 1]
def tell(**found): open(file, "w").write(json.dumps(found))
"""


@pytest.fixture
def first_minutes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("first_minutes")


def script(body):
    return [sys.executable, "-c", HEAD + body]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("os.abort()", "killed by SIGABRT"),
        ("sys.exit(3)", "failed with exit status 3"),
        ("raise RuntimeError('CUDA error')", "failed with exit status 1"),
    ],
)
def test_a_part_that_dies_leaves_what_it_had_found_and_its_last_words(first_minutes, body, status):
    part = first_minutes.run_in_a_process(
        "steps", 60, script(f"tell(steps=[1, 2]); print('step 2', flush=True)\n{body}")
    )
    assert part["status"] == status and part["found"] == {"steps": [1, 2]}
    assert part["output"][0] == "step 2"
    assert ("RuntimeError: CUDA error" in part["output"]) == ("CUDA" in body)


def test_a_part_that_overruns_ends_with_all_that_it_started(first_minutes, tmp_path):
    pid = tmp_path / "pid"
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pid)!r}, "w").write(str(child.pid))
tell(rows=[1])
time.sleep(600)
"""
    part = first_minutes.run_in_a_process("decode", 3, script(body))
    assert part["status"] == "stopped: it ran beyond its limit of 3 s"
    assert part["found"] == {"rows": [1]} and part["limit_seconds"] == 3
    for _ in range(100):  # until the system has buried it
        if not is_running(int(pid.read_text())):
            return
        time.sleep(0.1)
    pytest.fail("the part's own child was left running")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_without_time_a_part_is_not_begun(first_minutes):
    part = first_minutes.run_in_a_process("varlen", -1.0, ["never"])
    assert part["status"] == "not begun: the time of all parts was up"


@pytest.fixture
def run(first_minutes, monkeypatch, tmp_path):
    """Run the command with scripts for parts; return its exit status and the file's content."""
    output = tmp_path / "found" / "first.json"

    def run(bodies, *given):
        monkeypatch.setattr(first_minutes, "flags", lambda _given, name: script(bodies[name]))
        argv = ["--smoke", "--device", "cpu", "--output", str(output), *given]
        monkeypatch.setattr(sys, "argv", ["first_minutes.py", *argv])
        return first_minutes.main(), json.loads(output.read_text())

    run.output = output
    return run


def test_the_other_parts_go_on_and_what_was_found_is_written_after_each(run, capsys):
    keep = f"tell(seen=json.load(open({str(run.output)!r})))"
    bodies = {
        "machine": "tell(device='a GPU')",
        "tests": "tell(passed=3); os.kill(os.getpid(), signal.SIGSEGV)",
        "steps": keep,
        "varlen": keep,
    }
    status, found = run(bodies, "--parts", "tests", "steps", "varlen")
    assert status == 1 and found["device"] == "a GPU" and found["limit_seconds"] == 600
    statuses = {name: part["status"] for name, part in found["parts"].items()}
    assert statuses == {
        "machine": "ok", "tests": "killed by SIGSEGV", "steps": "ok", "varlen": "ok",
    }  # fmt: skip
    assert list(found["parts"]["steps"]["found"]["seen"]["parts"]) == ["machine", "tests"]
    assert list(found["parts"]["varlen"]["found"]["seen"]["parts"]) == ["machine", "tests", "steps"]
    assert "3 of 4 parts came to their end; not tests" in capsys.readouterr().out


def test_all_parts_together_have_a_limit(run):
    bodies = {"machine": "tell(device='a GPU')", "steps": "time.sleep(600)", "varlen": ""}
    status, found = run(bodies, "--parts", "steps", "varlen", "--budget-seconds", "4")
    assert status == 1
    assert found["parts"]["steps"]["status"].startswith("stopped: it ran beyond its limit of")
    assert found["parts"]["varlen"]["status"] == "not begun: the time of all parts was up"


def test_without_its_device_nothing_is_tried(run, capsys):
    status, found = run({"machine": "sys.exit('no such GPU')"})
    assert status == 2 and list(found["parts"]) == ["machine"]
    assert "failed with exit status 1: no part can run" in capsys.readouterr().err


def test_a_request_to_end_leaves_what_was_found(run, first_minutes, monkeypatch):
    in_a_process = first_minutes.run_in_a_process

    def interrupted(name, *args):
        if name == "steps":
            raise Interrupted(signal.SIGTERM)
        return in_a_process(name, *args)

    monkeypatch.setattr(first_minutes, "run_in_a_process", interrupted)
    bodies = {"machine": "tell(device='a GPU')", "steps": "", "varlen": ""}
    status, found = run(bodies, "--parts", "steps", "varlen")
    assert status == 143
    assert {name: part["status"] for name, part in found["parts"].items()} == {
        "machine": "ok", "steps": "interrupted by SIGTERM",
    }  # fmt: skip


def test_the_limits_of_the_parts_fit_ten_minutes(first_minutes):
    assert sum(first_minutes.LIMITS.values()) <= first_minutes.BUDGET == 600
    parts = importlib.import_module("first_parts").PARTS
    assert list(parts) == list(first_minutes.LIMITS)


def test_a_cpu_is_for_smoke_alone(first_minutes, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["first_minutes.py", "--device", "cpu"])
    with pytest.raises(SystemExit, match="2"):
        first_minutes.main()
    assert "on a CPU only --smoke --device cpu runs" in capsys.readouterr().err


def test_the_command_runs_its_parts_in_processes(tmp_path):
    output = tmp_path / "first.json"
    command = [sys.executable, str(BENCHMARKS / "first_minutes.py"), "--smoke", "--device", "cpu"]
    command += ["--parts", "tests", "varlen", "--output", str(output)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["device"] == "cpu" and "torch" in found["parts"]["machine"]["found"]["versions"]
    tests = found["parts"]["tests"]["found"]
    assert tests["failed"] == 0 and tests["passed"] + tests["skipped"] == 2
    (row,) = found["parts"]["varlen"]["found"]["rows"]
    assert row["errors"].keys() == {"copies", "merged"} and row["seconds_per_layer"]["merged"] > 0


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("first_parts")


@pytest.fixture
def part(parts, tmp_path):
    """Run a part in this process at its smallest; return what it found and wrote."""

    def run(name):
        file = tmp_path / f"{name}.json"
        parts.run_part_here(name, torch_device="cpu", smoke=True, file=file)
        return json.loads(file.read_text())

    return run


def test_steps_tell_gap_time_and_what_memory_was_estimated(part):
    found = part("steps")
    assert len(found["steps"]) == 2 and found["score_offset"] == 2000
    assert found["estimated_gigabytes"] > 0 and found["estimate"].startswith("0.0 GB")
    assert found["seconds"]["update"]["median"] == found["steps"][1]["time/update"]
    for row in found["steps"]:
        assert 0 <= row["logprob_gap/mean"] <= row["logprob_gap/max"]
        spent = [
            row[f"time/{name}"] for name in ("data", "rollout", "reward", "reference", "update")
        ]
        assert sum(spent) <= row["time/step"] + 1e-3


def test_rows_of_decoding_and_of_the_logprob_op(part):
    found = part("decode")
    assert found["decode_tokens_per_second"] > 0 and found["rollouts"].keys() == {
        "prefill", "rollout",
    }  # fmt: skip
    ways = {row["way"] for row in part("logprob")["rows"]}
    assert {"plain", "matrix products alone"} < ways and any(way.startswith("ours") for way in ways)


def test_inflated_biases_add_their_offset_to_every_score(parts, nano_policy):
    policy, before = load_policy(nano_policy.path), nano_policy.text.layers[0].self_attn
    parts.inflate_biases(policy, offset=50.0)
    after = policy.text.layers[0].self_attn
    query, key = (
        (getattr(after, name).bias - getattr(before, name).bias).unflatten(0, (-1, after.head_dim))
        for name in ("q_proj", "k_proj")
    )
    for one, other in zip(query, key.repeat_interleave(2, 0), strict=True):
        torch.testing.assert_close((one @ other).item(), 50.0, atol=1e-3, rtol=0)
