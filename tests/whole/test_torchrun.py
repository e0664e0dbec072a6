"""The harness of commands under torchrun: what it returns, whom it meets, and that nobody stays."""

import signal
import time
from pathlib import Path

import pytest

from tests.whole.torchrun import Job, run, run_nodes

# No torch in here: a rank that sleeps or says who it is takes a tenth of a second.
WHO = """
import os, sys
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], "with", *sys.argv[1:])
print("threads", os.environ["OMP_NUM_THREADS"], file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
SLEEPS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("begun", flush=True)
time.sleep(600)
"""


@pytest.fixture
def scripts(tmp_path):
    for name, text in (("who.py", WHO), ("sleeps.py", SLEEPS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_it_returns_status_and_output_of_all_ranks(scripts):
    ended = run([scripts / "who.py", "0"]).check()
    assert sorted(ended.out.splitlines()) == ["rank 0 of 2 with 0", "rank 1 of 2 with 0"]
    assert ended.err.count("threads 1") == 2


def test_two_nodes_on_loopback_are_one_world_and_a_failure_is_told(scripts):
    ended = run_nodes([scripts / "who.py", "3"])
    said = sorted(line for node in ended for line in node.out.splitlines())
    assert said == ["rank 0 of 2 with 3", "rank 1 of 2 with 3"]
    assert all(node.status for node in ended)
    with pytest.raises(AssertionError, match="torchrun ended with 1"):
        ended[0].check()


def test_ranks_are_found_and_nothing_outlives_the_block(scripts):
    with Job([scripts / "sleeps.py"]) as job:
        job.until(lambda: job.out.count("begun") == 2)
        ranks = job.ranks()
        assert sorted(ranks) == [0, 1]
        members = job.members()
        assert len(members) == 5  # torchrun, two ranks, one sleeper of each
        with pytest.raises(TimeoutError, match="begun"):
            job.wait(0.1)
        # Not even if torchrun itself is killed, which leaves its ranks behind.
        job.signal(signal.SIGKILL)
    time.sleep(0.1)
    assert not [pid for pid in members if _runs(pid)]


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
