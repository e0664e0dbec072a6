"""What the first process makes of what it hears: who is silent, and who comes no further."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from models.checkpoint import tensor_file
from process.ranks.limits import Limits
from process.ranks.pulse import Pulse
from process.signals import requests

LIMITS = Limits(told=60, stall=1800, silence=45)


class Store:
    """The words of three processes, as they have said them last."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def set(self, key, value):
        self.said[key] = value

    def multi_get(self, keys):
        return [self.said[key] for key in keys]

    def say(self, rank, **changed):
        key = f"beat/{rank}"
        before = json.loads(self.said.get(key, "{}"))
        self.set(key, json.dumps({"part": "rewards", "met": 3, "waits": True, **before, **changed}))


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def heard(clock):
    """Return what is found after so many seconds in which the ranks say what they are told to."""
    store = Store()
    here = SimpleNamespace(rank=0, size=3, is_first=True, state=dict)
    pulse = Pulse(here, store, LIMITS)

    def after(seconds, *, silent=(), **moving):
        for _ in range(int(seconds)):
            clock.seconds += 1
            for rank in range(3):
                if rank not in silent:
                    moved = clock.seconds if moving.get(f"rank{rank}") == "moves" else 0
                    waits = moving.get(f"rank{rank}") is None
                    store.say(rank, count=clock.seconds, waits=waits, moved=moved)
            if (found := pulse._look()) is not None:
                return found
        return None

    return after


def test_one_that_comes_further_may_take_as_long_as_it_needs(heard, capsys):
    assert heard(20_000, rank1="moves") is None
    assert capsys.readouterr().err == ""


def test_one_that_comes_no_further_ends_all_in_the_end(heard, capsys):
    assert heard(59, rank1="is stuck") is None and capsys.readouterr().err == ""
    assert heard(1700, rank1="is stuck") is None
    assert capsys.readouterr().err == "warning: waiting for rank 1, which is at rewards\n"
    found = heard(100, rank1="is stuck")
    said = "error: rank 1 has not come further for 1801 s, at rewards; the others wait for it"
    assert found.line() == said


def test_nobody_is_told_of_while_nobody_waits(heard, capsys):
    stuck = {f"rank{rank}": "is stuck" for rank in range(3)}
    assert heard(5000, **stuck) is None
    assert capsys.readouterr().err == ""


def test_whoever_writes_a_large_file_comes_further(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_file, "SLICE", 400)
    before = requests.progress
    tensor_file.write_tensor_file(tmp_path / "x", {"x": torch.zeros(1000)})
    assert requests.progress == before + 10


def test_one_that_is_not_heard_of_is_lost_also_where_it_waits(heard):
    assert heard(10) is None
    found = heard(100, silent=[2])
    assert (found.kind, found.rank, found.seconds) == ("silent", 2, 46)
