"""A training that is killed where it hurts goes on to what one that was never killed becomes.

benchmarks/kills.py does it fifty times, also at random; here are five of its moments.
"""

import json
import subprocess
import sys

import pytest

from tests.places import ROOT

AIMS = (
    *("half_a_small_file", "half_a_line", "half_a_removal", "after_the_cut"),
    "between_the_lines_of_a_step",
)


@pytest.mark.slow
def test_five_kills_leave_each_step_once_and_the_same_weights(tmp_path):
    result = tmp_path / "kills.json"
    places = ["--folder", str(tmp_path / "work"), "--output", str(result)]
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--aims", *AIMS, *places]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["kills_by_moment"] == dict.fromkeys(sorted(AIMS), 1)
    assert found["differences"] == []
