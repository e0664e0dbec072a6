"""One of the processes that work on the arms of a protocol side by side.

It reads the file and the data for itself, then does one part after the other as they are handed to
it. What a part prints goes to a log of its own. Where the process that hands them out is gone, it
ends as if it had been asked to: a run saves its steps.
"""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from evaluation.asking.asked_model import chosen_device, chosen_policy
from evaluation.asking.progress import TimeLeft
from evaluation.protocol.protocol_file import ProtocolConfig
from evaluation.protocol.running import ProtocolPart, RunFailedError, Runner, Training
from evaluation.protocol.schedule import Schedule
from process.command import explained
from process.memory import DeviceMemoryError
from process.output import forgiving_output
from process.own_signals import take_signals
from process.signals import exit_status, interruptible

How = tuple[Training, str, str | None]  # how runs are trained, --dtype, --device for old runs


class Telling(TimeLeft):
    """Tells another process of each unit that is done, which counts and prints them."""

    def __init__(self, messages: Connection) -> None:
        """Take the way to it."""
        super().__init__({})
        self._messages = messages

    @contextmanager
    def unit(self, kind: str, name: str) -> Iterator[None]:
        """Time what is inside and tell of it."""
        start = time.monotonic()
        yield
        self._messages.send(("unit", (kind, name, time.monotonic() - start)))


def work(config: ProtocolConfig, how: How, messages: Connection, lifeline: Connection) -> None:
    """Do the parts that come, until None does; a signal ends the process.

    Args:
        config: the protocol.
        how: see `How`.
        messages: gives parts; gets ("unit", (kind, name, seconds)) for each unit that is done, then
            ("ended", None, or why the part is not done).
        lifeline: ends with the process that hands out the parts.
    """
    take_signals()
    tqdm.set_lock(threading.RLock())  # its own is for processes, and stays behind a spawned one
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    with forgiving_output():
        hands = _Hands(config, how, messages)
        while (part := messages.recv()) is not None:
            messages.send(("ended", hands.done(part)))


def log_of(output: Path, part: ProtocolPart) -> Path:
    """Return where what a part prints goes.

    >>> log_of(Path("out"), ProtocolPart("modality/CT/think-seed0")).as_posix()
    'out/logs/modality/CT/think-seed0.log'
    >>> log_of(Path("out"), ProtocolPart("..", zero_shot=("modality", "think"))).name
    'zero-shot-think.log'
    """
    name = part.name if part.zero_shot is None else "/zero-shot-".join(part.zero_shot)
    return output / "logs" / f"{name}.log"


class _Hands:
    """Does parts, with what was read once for all of them."""

    def __init__(self, config: ProtocolConfig, how: How, messages: Connection) -> None:
        self._config, self._how, self._messages = config, how, messages

    @cached_property
    def runner(self) -> Runner:
        """Read the data, then say how parts are done."""
        training, dtype, given = self._how
        device = self._config.settings.get("device", "auto")
        return Runner(
            Schedule(self._config),
            training,
            lambda checkpoint: chosen_policy(checkpoint, chosen_device(device), dtype),
            given,
            progress=Telling(self._messages),
        )

    def done(self, part: ProtocolPart) -> str | None:
        """Do one part; return why it is not done, or None."""
        log = log_of(Path(self._config.output_dir), part)
        log.parent.mkdir(parents=True, exist_ok=True)
        _write_to(log)
        try:
            with interruptible():
                self.runner.log = log
                self.runner.do(part)
        except (ValueError, OSError, FloatingPointError, DeviceMemoryError) as error:
            reason = error.reason if isinstance(error, RunFailedError) else explained(error)
            print(f"error: {reason}", flush=True)
            return reason
        except KeyboardInterrupt as error:
            print("interrupted: the same command goes on", flush=True)
            os._exit(exit_status(error))
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
        return None


def _write_to(file: Path) -> None:
    """Let what this process prints go to a file, also what libraries and the system print."""
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(number, stream)
    os.close(number)


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    os.kill(os.getpid(), signal.SIGTERM)
