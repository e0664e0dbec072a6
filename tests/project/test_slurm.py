"""scripts/slurm.sh: its words are ones that Slurm, torchrun and train.py know, and it goes on.

Slurm's commands are stood in for by scripts that write down how they were called.
"""

import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from grpo.settings.command_line import train_parser
from tests.places import ROOT

SCRIPT = ROOT / "scripts" / "slurm.sh"
TEXT = SCRIPT.read_text(encoding="utf-8")

# From the manual pages of sbatch, srun and scancel.
SBATCH = {
    *("--job-name", "--nodes", "--gpus-per-node", "--ntasks-per-node", "--cpus-per-task"),
    *("--exclusive", "--time", "--signal", "--requeue", "--open-mode", "--output"),
}
SRUN = {"--kill-on-bad-exit"}


def test_it_asks_slurm_for_what_slurm_has():
    asked = re.findall(r"^#SBATCH (--[a-z-]+)", TEXT, re.MULTILINE)
    assert set(asked) == SBATCH
    grace = int(re.search(r"^GRACE=(\d+)", TEXT, re.MULTILINE)[1])
    told_before = int(re.search(r"--signal=B:USR1@(\d+)", TEXT)[1])
    assert grace < told_before


STAND_INS = {
    # The first of the hosts is asked for; a job is put back into the queue.
    "scontrol": 'echo "scontrol $*" >> "$CALLS"; [ "$1" = show ] && printf "node7\\nnode8\\n"',
    "scancel": 'echo "scancel $*" >> "$CALLS"; kill -TERM "$(cat "$RUNNING")"',
    "srun": """
printf "srun" >> "$CALLS"; printf " %q" "$@" >> "$CALLS"; echo >> "$CALLS"
trap 'exit "$STATUS"' TERM
echo $$ > "$RUNNING"
for _ in $(seq 200); do [ -n "$ENDS" ] && exit "$STATUS"; sleep 0.05; done
exit 99
""",
}


@pytest.fixture
def job(tmp_path):
    """A function: the script's process, in a job of two nodes; and the file of the calls."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"

    def start(*words: str, status: int, ends: bool) -> tuple[subprocess.Popen, Path]:
        environment = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            **{"CALLS": str(calls), "RUNNING": str(tmp_path / "running")},
            **{"STATUS": str(status), "ENDS": "1" if ends else ""},
            **{"SLURM_JOB_ID": "41234", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2"},
            "SLURM_GPUS_ON_NODE": "4",
        }
        return subprocess.Popen(["bash", str(SCRIPT), *words], env=environment), calls

    return start


@pytest.mark.command
def test_it_starts_torchrun_on_every_node_with_flags_that_are_there(job):
    process, calls = job("--model", "a model", "--output-dir", "runs/x", status=0, ends=True)
    assert process.wait(30) == 0
    line = next(line for line in calls.read_text("utf-8").splitlines() if line.startswith("srun "))
    words = shlex.split(line)[1:]
    command = words.index("torchrun")
    assert {word.split("=")[0] for word in words[:command]} == SRUN
    given = get_args_parser().parse_args(words[command + 1 :])
    assert (given.nnodes, given.nproc_per_node, given.max_restarts) == ("2", "4", 3)
    assert (given.rdzv_backend, given.rdzv_endpoint) == ("c10d", "node7:21234")
    assert (given.rdzv_id, given.training_script) == ("41234-0", "train.py")
    settings = train_parser().parse_args(given.training_script_args)
    assert (settings.resume, settings.model) == ("auto", "a model")
    assert "requeue" not in calls.read_text("utf-8")


@pytest.mark.command
@pytest.mark.parametrize(
    ("status", "asked", "requeued"),
    [(143, True, True), (0, True, False), (1, False, False)],
    ids=["stopped before the end", "done in time", "a mistake"],
)
def test_a_job_that_is_stopped_before_its_end_is_put_back(job, status, asked, requeued, tmp_path):
    process, calls = job("--output-dir", "runs/x", status=status, ends=not asked)
    if asked:
        end = time.monotonic() + 30
        while not (tmp_path / "running").exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == status
    told = calls.read_text("utf-8")
    assert ("scancel --signal=TERM 41234" in told) == asked
    assert ("scontrol requeue 41234" in told) == requeued
