"""Several processes of one command: whatever ends one of them ends all, and one line says why."""

import json
import os
import signal
import subprocess
import sys

import pytest

from process.ranks.limits import PATIENCE
from tests.places import ROOT

pytestmark = pytest.mark.command
KEPT = "2 of 4 steps are saved"
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def ended() -> dict[str, dict]:
    """What became of every case of forked.py; they are played at one time."""
    words = [sys.executable, "-m", "tests.process.ranks.forked"]
    # what a command sets before it imports torch, which is imported once here, and before that
    own = {PATIENCE: "0.2", "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **own}, stdout=subprocess.PIPE, timeout=180, check=True
    )
    return json.loads(done.stdout)


def test_who_ends_well_waits_for_the_others_and_the_first_alone_prints(ended):
    assert ended["all end"] == {"status": [0, 0], "out": "begun\n", "err": [], "took": 0.0}


@pytest.mark.parametrize(
    ("case", "status", "lines"),
    [
        ("one's error", [2, 2, 2], ["error: rank 1: row 3 has no answer"]),
        ("one's own error", [2, 2, 2], ["error: rank 1: no such file: /data/x", KEPT]),
        ("the first one's own error", [2, None], ["error: no such file: /data/x"]),
        ("the same error", [2, None], ["error: no such model"]),
        ("one is asked", [143, 143], [f"interrupted by SIGTERM: {KEPT}"]),
        ("all are asked", [143, 143], [f"interrupted by SIGTERM: {KEPT}"]),
    ],
)
def test_what_ends_one_ends_all_and_is_printed_once(ended, case, status, lines):
    found = ended[case]
    assert found["err"] == lines
    # None: of one that torchrun may ask to end while it is at its end
    assert [
        None if s is None else f for f, s in zip(found["status"], status, strict=True)
    ] == status


def test_a_wrong_flag_is_told_once(ended):
    (line,) = ended["a wrong flag"]["err"]
    assert line.startswith("error: the following arguments are required")
    assert ended["a wrong flag"]["status"][0] == 2


@pytest.mark.parametrize("case", ["a bug", "a bug outside"])
def test_a_bugs_traceback_is_printed_where_it_is_and_the_first_one_says_whose(ended, case):
    # Two processes write: what one says may begin behind an unfinished line of the other's.
    said = "\n".join(["", *ended[case]["err"]])
    assert said.count("error: ") == said.count("error: rank 1: KeyError: 'a bug'") == 1
    assert said.count("\nrank 1:") == 1
    assert "Traceback (most recent call last):\n" in said and "\nKeyError: 'a bug'" in said
    assert ended[case]["status"] == [2, 1]


@pytest.mark.parametrize(
    ("case", "line", "status"),
    [
        ("one is killed at work", "error: rank 1 is gone, at rewards: ", [2, KILLED]),
        ("the first is killed", "error: rank 0 is gone, at update: ", [KILLED, 2, 2]),
    ],
)
def test_one_that_is_killed_ends_the_others_at_once(ended, case, line, status):
    found = ended[case]
    assert line in found["err"][0] and found["err"][1:] == [KEPT]
    assert found["status"] == status and found["took"] < 5


def test_with_the_first_one_killed_another_says_so_by_its_name(ended):
    assert ended["the first is killed"]["err"][0].startswith(("rank 1: error", "rank 2: error"))


@pytest.mark.parametrize(
    ("case", "part"), [("one is stopped", "rewards"), ("one is stopped in an update", "update")]
)
def test_one_that_is_not_heard_of_ends_the_others(ended, case, part):
    found = ended[case]
    said = f"error: rank 1 has not been heard of for 9 s, at {part}: its process was stopped"
    assert found["err"][0].startswith(said) and found["err"][1:] == [KEPT]
    assert found["status"] == [2, KILLED]  # what is stopped, torchrun kills


def test_who_waits_in_vain_for_a_common_computation_is_named_with_its_part(ended):
    found = ended["one does something else"]
    said = "error: rank 0 is stuck at update, in what all processes compute together"
    assert found["err"][0].startswith(said) and "Timed out" in found["err"][0]
    assert found["err"][1:] == [KEPT] and found["status"] == [2, 2]


def test_one_that_lives_and_comes_no_further_is_told_of_and_waited_for(ended):
    found = ended["one works for long"]
    assert found["err"] == ["warning: waiting for rank 1, which is at rewards"]
    assert found["status"] == [0, 0]


def test_without_the_place_where_they_meet_all_end(ended):
    found = ended["torchrun is killed"]
    said = "error: the place where the processes meet cannot be reached: torchrun has ended"
    assert found["err"][0].startswith(said) and found["err"][1:] == [KEPT]
    assert found["status"] == [2, 2]
