"""SIGTERM and SIGHUP end a command as Ctrl-C does; what is being saved is saved first."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading

import pytest

import process.signals
from process.alone import refusal
from process.command import command
from process.signals import (
    GRACE,
    NOTHING_BEGUN,
    Interrupted,
    end_if_asked,
    ending_signals,
    held,
    interruptible,
    once_there,
    requests,
    saying_kept,
)
from tests.places import ROOT

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask(number: int) -> None:
    """Send a signal to this process; its handler runs before the next instruction."""
    os.kill(os.getpid(), number)


@pytest.fixture
def later(monkeypatch):
    """Every look at the clock is seconds after the last one: a second signal is a second wish."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(process.signals.time, "monotonic", lambda: float(next(clock)))


@pytest.mark.parametrize("number", ENDING)
def test_each_of_the_three_raises_where_the_work_is(number):
    with ending_signals(), pytest.raises(Interrupted) as raised:
        ask(number)
    assert raised.value.number == number and isinstance(raised.value, KeyboardInterrupt)


def test_what_was_there_before_is_there_again():
    before = [signal.getsignal(number) for number in ENDING]
    with ending_signals():
        with ending_signals():
            pass
        assert all(signal.getsignal(number) not in before for number in ENDING)
    assert [signal.getsignal(number) for number in ENDING] == before


def test_what_is_ignored_stays_ignored():
    # as under nohup, which must survive the terminal
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals():
            ask(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_off_the_main_thread_nothing_happens():
    seen = []

    def work():
        with ending_signals(), held():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_a_first_signal_waits_for_the_end_of_what_is_held():
    done = []
    with ending_signals(), pytest.raises(Interrupted) as raised:
        with held():
            ask(signal.SIGTERM)
            with held():
                done.append("inner")
            done.append("outer")
        done.append("behind")
    assert done == ["inner", "outer"] and raised.value.number == signal.SIGTERM


def test_holding_brings_its_own_handlers_where_there_are_none():
    done = []
    with pytest.raises(Interrupted), held():
        ask(signal.SIGTERM)
        done.append("saved")
    assert done == ["saved"] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_inside_a_block_that_ends_in_order_a_signal_raises_at_the_next_safe_point():
    done = []
    with ending_signals(), pytest.raises(Interrupted), interruptible():
        end_if_asked()
        ask(signal.SIGTERM)
        done.append("went on")
        end_if_asked()
        done.append("never")
    assert done == ["went on"]


def test_or_at_the_end_of_the_block():
    done = []
    with ending_signals(), pytest.raises(Interrupted):
        with interruptible():
            ask(signal.SIGTERM)
            with held():
                pass
            done.append("went on")
        done.append("never")
    assert done == ["went on"]


def test_a_safe_point_lets_pass_what_is_to_be_finished():
    done = []
    finishing = held(lambda: "moved" not in done)
    with ending_signals(), pytest.raises(Interrupted), interruptible(), finishing:
        ask(signal.SIGTERM)
        end_if_asked()
        done.append("moved")
        end_if_asked()
        done.append("never")
    assert done == ["moved"]


def test_a_request_raises_once():
    # what runs on the way out, such as a last save, is not broken off by it again
    done = []
    with ending_signals(), pytest.raises(Interrupted), interruptible():
        try:
            ask(signal.SIGTERM)
            end_if_asked()
        except Interrupted:
            end_if_asked()
            with held():
                end_if_asked()
            done.append("saved")
            raise
    assert done == ["saved"]


def test_a_safe_point_without_a_request_and_off_the_main_thread_is_nothing():
    end_if_asked()
    seen = []
    with ending_signals(), pytest.raises(Interrupted), interruptible():
        ask(signal.SIGTERM)
        thread = threading.Thread(target=lambda: (end_if_asked(), seen.append("went on")))
        thread.start()
        thread.join()
        end_if_asked()
    assert seen == ["went on"]


@pytest.mark.usefixtures("later")
def test_a_second_signal_ends_at_once():
    done = []
    with ending_signals(), pytest.raises(Interrupted) as raised, held():
        ask(signal.SIGTERM)
        done.append("went on")
        ask(signal.SIGINT)
        done.append("never")
    assert done == ["went on"] and raised.value.number == signal.SIGINT


def test_one_request_that_is_sent_twice_is_one(monkeypatch):
    # `timeout` sends to the process, then to its group
    clock = iter((7.0, 7.0 + GRACE - 0.1))
    monkeypatch.setattr(process.signals.time, "monotonic", lambda: next(clock))
    done = []
    with ending_signals(), pytest.raises(Interrupted), held():
        ask(signal.SIGTERM)
        ask(signal.SIGTERM)
        done.append("saved")
    assert done == ["saved"]


@pytest.mark.usefixtures("later")
def test_the_save_behind_a_first_signal_is_not_held_against_a_second():
    done = []
    with ending_signals(), pytest.raises(Interrupted):
        try:
            ask(signal.SIGTERM)
        except Interrupted:
            with held():
                done.append("begun")
                ask(signal.SIGTERM)
                done.append("never")
    assert done == ["begun"]


@pytest.mark.usefixtures("later")
def test_a_signal_behind_the_end_of_a_command_finds_nothing_to_end():
    with ending_signals():
        requests.finish()
        ask(signal.SIGTERM)
        with pytest.raises(Interrupted):  # once more, later: what hangs then is nobody's work
            ask(signal.SIGTERM)


def test_of_nested_blocks_the_outermost_says_what_is_kept():
    @command
    def main(_argv=None):
        with saying_kept(lambda: "all of it"), saying_kept(lambda: "a part"):
            ask(signal.SIGTERM)
        return 0

    with (
        saying_kept(lambda: None),
        saying_kept(lambda: 1 / 0),
        saying_kept(lambda: "seen from outside"),
    ):
        assert requests.kept() == "seen from outside"
    assert requests.kept() == NOTHING_BEGUN
    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert main([]) == 143
    assert told.getvalue() == "interrupted by SIGTERM: all of it\n"


def test_a_file_that_is_there_is_said_to_be_written(tmp_path):
    file = tmp_path / "audit.json"
    assert once_there(file)() is None
    file.touch()
    assert once_there(file)() == f"{file} is written"


def test_an_error_of_what_was_held_is_told_and_not_the_signal():
    with ending_signals(), pytest.raises(OSError, match="disk full"), held():
        ask(signal.SIGTERM)
        raise OSError("disk full")


def test_every_block_begins_without_the_requests_of_the_last_one():
    for _ in range(2):
        with ending_signals(), pytest.raises(Interrupted):
            ask(signal.SIGTERM)


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_command_that_says_nothing_itself_ends_with_one_line(number, status, word, capsys):
    @command
    def main(_argv=None):
        ask(number)
        return 0

    assert main() == status
    assert capsys.readouterr().err == f"{word}: {NOTHING_BEGUN}\n"


@pytest.mark.parametrize("size", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_one_of_several_processes_is_refused_and_the_first_says_so(size, monkeypatch, capsys):
    rank = size.replace("SIZE", "RANK") if size != "WORLD_SIZE" else "RANK"

    @command
    def main(_argv=None):
        raise AssertionError("must not start")

    monkeypatch.setenv(size, "2")
    for number, told in (("0", True), ("1", False)):
        monkeypatch.setenv(rank, number)
        assert main() == 2
        error = capsys.readouterr().err
        assert (f"error: 2 processes were started together ({size}=2)" in error) is told
        assert told or error == ""


def test_a_world_of_one_may_start():
    assert refusal({"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert refusal({"WORLD_SIZE": ""}) is None and refusal({}) is None


TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "a"}
TORCHRUN |= {"MASTER_PORT": "29500"}


def test_a_command_that_shares_its_work_takes_torchrun_and_no_other_launcher():
    assert refusal(TORCHRUN, shares_work=True) is None
    assert refusal(TORCHRUN) == "" and "runs in one" in refusal({**TORCHRUN, "RANK": "0"})
    for size, rank in (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")):
        told = refusal({size: "4", rank: "0"}, shares_work=True)
        assert f"({size}=4)" in told and "Start one torchrun per machine" in told
        assert refusal({size: "4", rank: "3"}, shares_work=True) == ""
    left_over = {name: text for name, text in TORCHRUN.items() if not name.startswith("MASTER")}
    told = refusal({**left_over, "RANK": "0"}, shares_work=True)
    assert "WORLD_SIZE=2 is set without MASTER_ADDR, MASTER_PORT" in told


def test_srun_is_known_by_its_step_and_an_allocation_is_none():
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}
    assert "(SLURM_STEP_NUM_TASKS=2)" in refusal(step)
    assert "Start one torchrun per machine" in refusal(step, shares_work=True)
    assert refusal({**step, "SLURM_PROCID": "1"}) == ""
    # one torchrun per task is srun's proper use, unless it does not know of the others
    assert refusal({**step, **TORCHRUN}, shares_work=True) is None
    assert "(SLURM_STEP_NUM_TASKS=2)" in refusal({**step, "WORLD_SIZE": "1"}, shares_work=True)
    # a batch script, or a shell of salloc: of the allocation alone, or a step of one task
    assert refusal({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}) is None
    assert refusal({**step, "SLURM_STEP_NUM_TASKS": "1"}, shares_work=True) is None


@pytest.mark.command
@pytest.mark.parametrize(
    "script",
    [
        ["train.py"],
        ["train.py", "--protocol", "configs/protocol_phantoms.toml"],
        ["evaluate.py"],
        ["evaluate.py", "matrix", "--models", "a=tiny", "--json", "phantoms", "--output-dir", "m"],
        ["-m", "evaluation.curate", "--json", "phantoms", "--output-dir", "c"],
    ],
)
def test_the_commands_refuse_to_be_two_that_cannot_meet(script, tmp_path):
    script = [str(ROOT / script[0]) if script[0].endswith(".py") else script[0], *script[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "RANK": "0"}
    done = subprocess.run(
        [sys.executable, *script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("error: ") == 1
    assert "WORLD_SIZE=2 is set without LOCAL_RANK, MASTER_ADDR, MASTER_PORT" in done.stderr
    assert "Traceback" not in done.stderr and not any(tmp_path.iterdir())
