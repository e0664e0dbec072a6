"""Beside other processes our threads wait asleep, and that the cores are taken is said once."""

import os
import subprocess
import sys

import pytest

import process.threads as threads
from process.threads import Load, say_if_crowded
from tests.places import ROOT

SCRIPT = """
import os, sys
from process.command import command

@command
def main(argv=None):
    import torch
    print(os.environ.get("GOMP_SPINCOUNT"), torch.ones(3).sum().item())
    return 0

sys.exit(main())
"""


def stat(busy: int) -> str:
    """The first line of /proc/stat: ticks of user, nice, system, idle, iowait, irq, .., guest."""
    return f"cpu  {busy} 0 0 70000 900 0 0 0 {busy} 0\ncpu0 1 2 3\n"


def printed(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "CROWDED", 0.5)
    say_if_crowded.cache_clear()
    yield
    say_if_crowded.cache_clear()


@pytest.mark.command
def test_a_command_lets_its_threads_sleep_before_it_imports_torch():
    assert printed(SCRIPT) == f"{threads.SPINS} 3.0\n"


@pytest.mark.command
@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_who_chose_how_threads_wait_keeps_it(name):
    value = {"GOMP_SPINCOUNT": "77", "OMP_WAIT_POLICY": "ACTIVE"}[name]
    shown = "77" if name == "GOMP_SPINCOUNT" else "None"
    assert printed(SCRIPT, **{name: value}) == f"{shown} 3.0\n"


@pytest.mark.command
def test_nothing_is_set_once_torch_has_read_its_environment():
    assert printed("import torch\n" + SCRIPT) == "None 3.0\n"


def test_the_kernels_ticks_are_counted_without_idle_and_waiting_ones(tmp_path, monkeypatch):
    file = tmp_path / "stat"
    file.write_text(stat(250))
    monkeypatch.setattr(threads, "_STAT", file)
    assert Load.now().machine == 250 / os.sysconf("SC_CLK_TCK")


def fake_loads(monkeypatch, taken: float) -> None:
    """Ten seconds in which we use one core's worth and others `taken` cores' worth."""
    loads = iter([Load(0.0, 50.0, 3.0), Load(10.0, 50.0 + 10 + taken * 10, 13.0)] * 2)
    monkeypatch.setattr(Load, "now", lambda: next(loads))


def test_taken_cores_are_said_once(monkeypatch, capsys):
    fake_loads(monkeypatch, taken=1.5)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    say_if_crowded(0.0)
    say_if_crowded(0.0)
    said = capsys.readouterr().err
    assert said.count("other processes keep 1.5 of 2 cores busy") == 1 and said.count("\n") == 1


@pytest.mark.parametrize("taken", [0.0, 0.4, -0.2])
def test_idle_cores_are_not_worth_a_word(monkeypatch, capsys, taken):
    fake_loads(monkeypatch, taken)
    say_if_crowded(0.0)
    assert capsys.readouterr().err == ""


def test_where_the_kernel_does_not_say_nothing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(threads, "_STAT", tmp_path / "missing")
    say_if_crowded(0.0)
    assert Load.now() is None and capsys.readouterr().err == ""
