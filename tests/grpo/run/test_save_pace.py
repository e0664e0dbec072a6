"""A checkpoint is due after so many steps, or so long after the last one by the first's clock."""

import pytest

from grpo.run import save_pace
from grpo.run.save_pace import SavePace
from grpo.settings.config import GRPOConfig
from grpo.settings.save_every import seconds_between
from process.ranks import world
from tests.threads_as_ranks import as_ranks


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(save_pace, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("every", "due"), [(3, [3, 6]), (1, [1, 2, 3, 4, 5, 6]), (0, []), (7, [])])
def test_by_steps(every, due):
    pace = SavePace(every)
    assert [done for done in range(1, 7) if pace.is_due(done)] == due


def test_by_time_since_the_last_one(clock):
    pace = SavePace("30m")
    clock[0] += 1799
    assert not pace.is_due(1)
    clock[0] += 1
    assert pace.is_due(2)
    clock[0] += 600  # it took so long to write
    pace.saved()
    clock[0] += 1799
    assert not pace.is_due(3)


@pytest.mark.usefixtures("clock")
def test_the_first_process_decides_for_all():
    found = {}

    def ask(rank):
        pace = SavePace("1s")
        pace._last -= 5 * (rank == asks)
        found[world().rank] = pace.is_due(1)

    asks = 0
    as_ranks(3, ask)
    assert found == {0: True, 1: True, 2: True}
    asks = 1
    as_ranks(3, ask)
    assert found == {0: False, 1: False, 2: False}


@pytest.mark.parametrize("text", ["30", "m", "30 m", "30min", "-3m", "0m", "1d", "", "1e3s", "inf"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="neither steps nor a time: use a number such as 200, or"):
        GRPOConfig(model="m", train_json=("t",), save_every=text)
    with pytest.raises(ValueError):
        seconds_between(text)


def test_fewer_than_no_steps_are_refused_as_ever():
    with pytest.raises(ValueError, match="save_every=-1 must not be negative: use 0 or more"):
        GRPOConfig(model="m", train_json=("t",), save_every=-1)
