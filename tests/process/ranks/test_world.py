"""Processes that torchrun starts hear what the others have, and how it ended there."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import evaluate
from process.ranks import Place, place, world
from process.signals import Interrupted, requests
from tests.places import ROOT
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.command


def started(size: int, kept: Path) -> list[dict]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.process.ranks.talking", kept],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(size)
    ]
    try:
        return [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_processes_hear_each_other_in_the_order_of_their_ranks_and_fail_together(tmp_path) -> None:
    found = started(3, tmp_path / "kept")
    for rank, said in enumerate(found):
        assert said["rank"] == rank
        assert said["size"] == 3
        assert said["gathered"] == [{"é": 0}, {"é": 1}, {"é": 2}]
        assert said["tensors"] == [[0.0], [0.0, 1.0], [0.0, 1.0, 2.0]]
        assert said["sum"] == [6.0]
        assert said["most"] == 7
        assert said["found kept"] == [rank > 0]
    told = [said["told"] for said in found]
    assert told == [
        "rank 1: rows 3 and 4 are the same",
        "rows 3 and 4 are the same",
        "rank 1: rows 3 and 4 are the same",
    ]


def test_alone_everything_is_ones_own() -> None:
    assert world().gather(3) == [3]
    assert world().most(4) == 4
    with pytest.raises(KeyError), world().together("x"):
        raise KeyError("stays as it is")


def test_shares_are_all_things_once_in_order_and_differ_by_one_at_most() -> None:
    for size in range(1, 6):
        for count in range(12):
            shares = [Place(rank, size).share(count) for rank in range(size)]
            assert [i for share in shares for i in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_leftover_word_in_the_environment_is_no_place() -> None:
    assert place({"WORLD_SIZE": "many"}) == Place()


def test_a_subcommand_that_shares_no_work_is_refused_for_several_processes() -> None:
    for name in ("ask", "compare"):
        found = as_ranks(2, lambda _, name=name: evaluate._run(evaluate.SUBCOMMANDS[name], {}))
        assert [f"{error}" for error in found] == [
            "this subcommand works in one process: start it without torchrun"
        ] * 2


def test_inside_a_block_only_the_first_works_and_nobody_is_told() -> None:
    def work(rank: int) -> object:
        with world().together("writing"):
            return world().by_the_first("writing", lambda: rank)

    assert as_ranks(2, work) == [0, None]


def test_a_signal_waits_for_the_end_of_what_the_first_one_writes(monkeypatch) -> None:
    monkeypatch.setattr(requests, "number", None)
    monkeypatch.setattr(requests, "is_served", False)

    def write() -> str:
        requests.number = signal.SIGTERM
        return "written"

    def work(_rank: int) -> object:
        told = world().by_the_first("writing", write)
        with pytest.raises(Interrupted), world().together("sampling"):
            pass
        return told

    assert as_ranks(2, work) == ["written", "written"]
