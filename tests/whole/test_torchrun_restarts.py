"""A training under torchrun: a rank is killed, all are started anew, SIGTERM ends them in order."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from grpo.run.start_point import faults
from tests.places import ROOT
from tests.whole.torchrun import Ended, Job

pytestmark = pytest.mark.command
WORDS = [ROOT / "train.py", "--model", "tiny", "--train-json", "phantoms:CT", "--beta", "0"]
WORDS += ["--image-size", "56", "--max-completion-tokens", "4", "--max-steps", "100000"]
WORDS += ["--prompts-per-step", "2", "--group-size", "2", "--save-every", "2"]


class Played:
    """One job, from its start to its end; what was seen of it on the way."""

    def __init__(self, folder: Path) -> None:
        with Job(WORDS, options=["--max-restarts", "1"], cwd=folder) as job:
            job.until(lambda: list(folder.glob("runs/*/checkpoints/step-000004")))
            first = job.ranks()
            killed_at = time.monotonic()
            os.kill(first[1], signal.SIGKILL)
            job.until(
                lambda: len(job.ranks()) == 2 and not {*job.ranks().values()} & {*first.values()}
            )
            self.seconds = time.monotonic() - killed_at
            (self.run,) = folder.glob("runs/*")
            self.damages = [fault for one in saved(self.run) for fault in faults(one)]
            newest = saved(self.run)[-1].name
            job.until(lambda: saved(self.run)[-1].name > newest)
            job.signal(signal.SIGTERM)
            self.ended: Ended = job.wait()
        self.runs = list(folder.glob("runs/*"))
        self.newest_then = newest


def saved(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-??????"))


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    return Played(tmp_path_factory.mktemp("job"))


def test_a_killed_rank_ends_the_others_within_a_minute_and_is_named_once(played):
    assert played.seconds < 60 and played.damages == []
    assert played.ended.err.count("error: rank 1 is gone, at ") == 1
    assert "go on with: torchrun --nproc-per-node 2 " in played.ended.err


def test_what_torchrun_starts_anew_goes_on_by_itself_in_the_same_directory(played):
    assert played.runs == [played.run]
    (again,) = json.loads((played.run / "run.json").read_text(encoding="utf-8"))["resumed"]
    assert f"step-{again['from_step']:06d}" == played.newest_then and again["changed"] == {}
    assert played.ended.out.count("going on from") == 1


def test_sigterm_to_torchrun_saves_every_step_that_is_done(played):
    lines = (played.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert saved(played.run)[-1].name == f"step-{len(steps):06d}"
    told = f"interrupted by SIGTERM: {len(steps)} of 100,000 steps are saved, go on with: "
    assert played.ended.err.count(told) == 1 and played.ended.err.count("interrupted") == 1
    assert played.ended.status == 1  # torchrun's own, whatever its processes end with


def test_the_first_rank_alone_prints(played):
    assert played.ended.out.count("run directory: ") == 2  # of two starts, not of four processes
    assert played.ended.err.count("% of the completions reach the limit") == 1
