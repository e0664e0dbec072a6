"""SIGTERM, SIGHUP and Ctrl-C at every moment of a training, once and in volleys.

All trainings run in one process that forks (aimed_runs.py); benchmarks/signals.py has many more.
"""

import signal

import pytest

from tests.whole.aimed_runs import STEPS, Case, Left, faults, run_cases

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SAVE = "os.mkdir .step-000002.unfinished"
CASES = [
    Case("loading, a volley", INT, "import evaluation.report.figures", volley=True),
    Case("the first evaluation", HUP, "call HeldOut.__call__"),
    Case("a moving weight, twice", TERM, "call PolicyOptimizer.step", times=2),
    Case("a last save, a volley", INT, "call StepLog.record", nth=2, volley=True, save_every=0),
    Case("a scheduled save, twice", TERM, SAVE, times=2),
    Case("a checkpoint's rename, ten times", HUP, "os.rename step-000002", times=10),
    Case("a slow save", INT, SAVE, volley=True, lasts=20.0, grace=0.5, save_every=1),
    Case("the report", TERM, "open .report.html.tmp", times=2),
]


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> dict[str, Left]:
    """What every case left, by its name."""
    return run_cases(CASES, tmp_path_factory.mktemp("aimed"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_signal_at_any_moment_ends_in_order_and_the_run_goes_on(left, case):
    assert left[case.name].was_met and left[case.name].status != 0
    assert faults(case, left[case.name]) == []


def test_what_is_saved_is_what_the_moment_allows(left):
    assert {name: one.saved[-1:] for name, one in left.items()} == {
        "loading, a volley": [],
        "the first evaluation": [],
        "a moving weight, twice": ["step-000001"],
        "a last save, a volley": ["step-000002"],
        "a scheduled save, twice": ["step-000002"],
        "a checkpoint's rename, ten times": ["step-000002"],
        "a slow save": ["step-000001"],
        "the report": [f"step-{STEPS:06d}"],
    }


def test_a_signal_behind_the_grace_time_says_what_is_not_kept(left):
    one = left["a slow save"]
    told = one.told.splitlines()[-1]
    assert told.startswith(
        f"interrupted: 1 of {STEPS} steps are saved and 1 more are not kept (step-000002 was being"
        " written), go on with: python train.py --resume "
    )
    assert one.metrics == [1, 2]


def test_a_check_of_what_is_left_finds_faults():
    case = Case("a case")
    good = Left(
        143, "interrupted by SIGTERM: x\n", True, 0.1, ["step-000002"], [1, 2], 0, (1, 2, 3, 4)
    )
    assert faults(case, good) == []
    for change in (
        {"status": 1},
        {"status": -15},
        {"status": 0},
        {"told": "Traceback (most recent call last)\ninterrupted\n"},
        {"told": "interrupted\ninterrupted\n"},
        {"told": "interrupted\nException ignored in\n"},
        {"metrics": [1, 2, 3]},
        {"metrics": [2, 2]},
        {"resumed": 1},
        {"steps": (1, 2, 2, 3, 4)},
    ):
        assert faults(case, Left(**{**vars(good), **change})), change
