"""`train.py --protocol FILE.toml`: all of it, from the file to protocol.json and protocol.md."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.asking.asked_model import chosen_device, chosen_policy
from evaluation.asking.built_in import say_same_names
from evaluation.asking.shared_flags import check_machine
from evaluation.protocol.folder import check_output, write_results
from evaluation.protocol.protocol_file import ProtocolConfig, read_protocol
from evaluation.protocol.running import Load, Runner, Training
from evaluation.protocol.schedule import Schedule
from evaluation.report.write import report_finished
from grpo.settings import check_trusted
from process.command import exit_status_of
from process.owner import owned
from process.signals import interruptible

BESIDE = ("output_dir", "device", "dtype")  # the flags of train.py that may stand beside it


def protocol_command(
    file: str, given: Mapping[str, Any], training: Training, *, trusted: bool = False
) -> int:
    """Run a protocol; return the exit status: 2 for a mistake that a message explains.

    Args:
        file: the TOML file.
        given: the other flags that stand on the command line, by field name.
        training: how its runs are trained.
        trusted: whether reward files that it names may lie anywhere.
    """
    return exit_status_of(
        lambda: _run(file, given, training, trusted),
        kept="what is finished stays, the same command goes on with the rest",
        lower="lower batch_size",
    )


def _run(file: str, given: Mapping[str, Any], training: Training, trusted: bool) -> None:
    refused = [f"--{name.replace('_', '-')}" for name in given if name not in BESIDE]
    if refused:
        allowed = ", ".join(f"--{name.replace('_', '-')}" for name in BESIDE)
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
    check_output(output)
    where = [config.settings.get(name, "auto") for name in ("device", "dtype")]
    check_machine(*where)
    with owned(output):
        _run_in(output, config, training, given.get("device"), where)


def _run_in(
    output: Path, config: ProtocolConfig, training: Training, device: str | None, where: list[str]
) -> None:
    say_same_names([config.model], ("phantoms",) if config.data.phantoms else ())
    schedule = Schedule(config)
    chosen, dtype = chosen_device(where[0]), where[1]
    runs, cells = schedule.count()
    missing = schedule.missing_cells()
    print(
        f"{runs} runs, {runs - len(schedule.missing_runs())} of them trained; {cells} cells,"
        f" {cells - len(missing)} of them done: {output}",
        flush=True,
    )
    if missing:
        write_results(schedule)  # marks the folder as a protocol's
    _fill(
        schedule,
        training,
        lambda checkpoint: chosen_policy(checkpoint, chosen, dtype),
        device,
        missing=bool(missing),
    )
    print(f"written: {output / 'protocol.md'}, {output / 'protocol.json'}")
    report_finished(output)


@interruptible()
def _fill(
    schedule: Schedule, training: Training, load: Load, device: str | None, *, missing: bool
) -> None:
    def on_part() -> None:
        if missing:
            write_results(schedule)

    try:
        Runner(schedule, training, load, device).run(on_part)
    except BaseException:  # broken off: what there is by then
        with suppress(ValueError, OSError):  # the first error is the one to be told
            write_results(schedule)
        raise
    write_results(schedule)
