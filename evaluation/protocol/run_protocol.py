"""`train.py --protocol FILE.toml`: all of it, from the file to protocol.json and protocol.md."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluation.asking.asked_model import chosen_device, chosen_policy
from evaluation.asking.built_in import say_same_names
from evaluation.asking.shared_flags import check_machine
from evaluation.protocol.desks import Desk, desks_for
from evaluation.protocol.folder import check_output, write_results
from evaluation.protocol.protocol_file import ProtocolConfig, read_protocol
from evaluation.protocol.running import Runner, Training
from evaluation.protocol.schedule import Schedule
from evaluation.protocol.side_by_side import SideBySide
from evaluation.report.write import report_finished
from grpo.settings import check_trusted
from process.command import exit_status_of
from process.ranks import first_alone, first_owns, joined, world
from process.signals import interruptible

BESIDE = ("output_dir", "device", "dtype")  # the flags of a run that may stand beside it
Doing = Callable[[Callable[[], None]], None]  # does all that is missing, see `Runner.run`


@dataclass(frozen=True)
class _Machine:
    """Where a protocol computes."""

    device: str
    dtype: str
    given: str | None  # what --device says, for runs that go on
    desks: list[Desk]  # where arms are at work side by side; none: one after the other, here


def protocol_command(
    file: str,
    given: Mapping[str, Any],
    training: Training,
    *,
    trusted: bool = False,
    jobs: int = 1,
) -> int:
    """Run a protocol; return the exit status: 2 for a mistake that a message explains.

    Args:
        file: the TOML file.
        given: the other flags that stand on the command line, by field name.
        training: how its runs are trained.
        trusted: whether reward files that it names may lie anywhere.
        jobs: how many arms are at work at a time.
    """
    return exit_status_of(
        lambda: _run(file, given, training, trusted, jobs),
        kept="what is finished stays, the same command goes on with the rest",
        lower="lower batch_size",
    )


def _run(file: str, given: Mapping[str, Any], training: Training, trusted: bool, jobs: int) -> None:
    refused = [f"--{name.replace('_', '-')}" for name in given if name not in BESIDE]
    if refused:
        allowed = ", ".join(f"--{name.replace('_', '-')}" for name in (*BESIDE, "jobs"))
        raise ValueError(
            f"{', '.join(refused)} cannot be given with --protocol (allowed: {allowed}): the"
            f" settings of its runs stand in {file}"
        )
    config = read_protocol(file, given.get("output_dir"))
    rewards = config.settings_of("grpo").get("rewards", ())
    check_trusted(rewards, f"--protocol {file}", trusted=trusted)
    machine = {name: given[name] for name in ("device", "dtype") if name in given}
    config = replace(config, settings={**config.settings, **machine})
    output = Path(config.output_dir)
    device, dtype = (config.settings.get(name, "auto") for name in ("device", "dtype"))
    with joined() as here:
        here.by_the_first("looking at the protocol", lambda: check_output(output))
        check_machine(device, dtype)
        desks = desks_for(jobs, device)
        with first_owns(output):
            _run_in(output, config, training, _Machine(device, dtype, given.get("device"), desks))


def _run_in(output: Path, config: ProtocolConfig, training: Training, machine: _Machine) -> None:
    with world().together("reading the data"):
        say_same_names([config.model], ("phantoms",) if config.data.phantoms else ())
        schedule = Schedule(config)
    world().by_the_first("looking at the runs", schedule.check_there)
    doing = _doing(schedule, training, machine)
    _fill(schedule, doing, missing=_say_missing(schedule))
    print(f"written: {output / 'protocol.md'}, {output / 'protocol.json'}")
    world().by_the_first("writing the report", lambda: report_finished(output))


def _doing(schedule: Schedule, training: Training, machine: _Machine) -> Doing:
    if machine.desks:
        how = (training, machine.dtype, machine.given)
        return SideBySide(schedule, machine.desks, how).run
    with world().together("choosing the device"):
        chosen = chosen_device(machine.device)
    return Runner(
        schedule,
        training,
        lambda checkpoint: chosen_policy(checkpoint, chosen, machine.dtype),
        machine.given,
        schedule.output / "train.log",
    ).run


@first_alone("counting what is missing")
def _say_missing(schedule: Schedule) -> bool:
    """Print how far the protocol is; return whether anything is missing."""
    (runs, cells), missing = schedule.count(), schedule.missing_cells()
    print(
        f"{runs} runs, {runs - len(schedule.missing_runs())} of them trained; {cells} cells,"
        f" {cells - len(missing)} of them done: {schedule.output}",
        flush=True,
    )
    if missing:
        write_results(schedule)  # marks the folder as a protocol's
    return bool(missing)


@interruptible()
def _fill(schedule: Schedule, doing: Doing, *, missing: bool) -> None:
    @first_alone("writing the results")
    def write() -> None:
        write_results(schedule)

    try:
        doing(write if missing else lambda: None)
    except BaseException:  # broken off: what there is by then
        if world().is_first:
            with suppress(ValueError, OSError):  # the first error is the one to be told
                write_results(schedule)
        raise
    write()
