"""Arms of a protocol side by side: processes of their own, each handed one part after the other.

The first process owns the protocol's folder and hands out parts; each of the others (worker.py)
owns the folder of the run or cell that it is at work on. What is done lies in the folder as if one
process had done it, so the same command goes on from it with any number of jobs.
"""

import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess

from evaluation.asking.progress import TimeLeft
from evaluation.protocol.desks import Desk
from evaluation.protocol.running import ProtocolPart, all_parts, is_missing, missing
from evaluation.protocol.schedule import Schedule
from evaluation.protocol.worker import How, log_of, work
from process.signals import at_last, end_if_asked, requests

_LOOK = 0.5  # seconds between two looks at whether a signal came
_SPAWN = get_context("spawn")  # a fork would share this process's threads and GPU


@dataclass(frozen=True)
class _Worker:
    """A process at a desk, and what it has to do."""

    desk: Desk
    process: SpawnProcess
    messages: connection.Connection
    lifeline: connection.Connection  # this process's end: the worker ends once it is gone
    part: ProtocolPart


class SideBySide:
    """Hands the parts of a protocol to processes, as many at a time as there are desks."""

    def __init__(self, schedule: Schedule, desks: list[Desk], how: How) -> None:
        """Start nothing yet."""
        self._schedule, self._desks, self._how = schedule, desks, how
        self._progress = TimeLeft({})
        self._waiting: deque[ProtocolPart] = deque()
        self._workers: list[_Worker] = []  # at work
        self._processes: list[SpawnProcess] = []  # all that were started
        self._failed: list[str] = []

    def run(self, on_part: Callable[[], None]) -> None:
        """Do all that is missing; a part that fails stops no other.

        Args:
            on_part: called when all of zero-shot is done, or of a seed, and others are not.

        Raises:
            ValueError: some parts are not done; why was said.
            KeyboardInterrupt: as it came; runs under way have saved their steps.
        """
        schedule = self._schedule
        self._progress = TimeLeft(missing(schedule), at_a_time=len(self._desks))
        self._waiting.extend(part for part in all_parts(schedule) if is_missing(schedule, part))
        left = Counter(part.group for part in self._waiting)
        with self._ending_all():
            for desk in self._desks[: len(self._waiting)]:
                self._hand_out(self._started(desk))
            while self._workers:
                for done in self._heard():
                    left[done.group] -= 1
                    if not left[done.group] and self._workers:
                        with suppress(ValueError, OSError):  # what others are just writing
                            on_part()
        if self._failed:
            raise ValueError(
                f"not done, for the reasons above: {', '.join(self._failed)}; the same command"
                " tries them again"
            )

    def _started(self, desk: Desk) -> _Worker:
        messages, its_messages = _SPAWN.Pipe()
        its_lifeline, lifeline = _SPAWN.Pipe(duplex=False)
        words = (self._schedule.config, self._how, its_messages, its_lifeline)
        process = _SPAWN.Process(target=work, args=words)
        with _environment(desk):
            process.start()
        for end in (its_messages, its_lifeline):  # or this process would keep them open
            end.close()
        self._processes.append(process)
        return _Worker(desk, process, messages, lifeline, ProtocolPart(""))

    def _hand_out(self, worker: _Worker) -> None:
        part = self._waiting.popleft()
        self._workers.append(replace(worker, part=part))
        with suppress(OSError):  # it is gone: `_heard` notices
            worker.messages.send(part)

    def _heard(self) -> Iterator[ProtocolPart]:
        """Wait a moment; take what workers say, and yield the parts that have ended."""
        ready = connection.wait([worker.messages for worker in self._workers], timeout=_LOOK)
        end_if_asked()
        for worker in [worker for worker in self._workers if worker.messages in ready]:
            try:
                kind, content = worker.messages.recv()
            except (EOFError, OSError):
                worker.process.join()
                kind, content = "gone", _how_it_ended(worker.process.exitcode)
            if kind == "unit":
                self._progress.done(*content)
                continue
            self._workers.remove(worker)
            if content is not None:
                self._say_failed(worker.part, content)
            self._go_on(worker, is_gone=kind == "gone")
            yield worker.part

    def _go_on(self, worker: _Worker, *, is_gone: bool) -> None:
        if not self._waiting:
            with suppress(OSError):
                worker.messages.send(None)
        else:
            self._hand_out(self._started(worker.desk) if is_gone else worker)

    def _say_failed(self, part: ProtocolPart, reason: str) -> None:
        self._failed.append(part.name)
        log = log_of(self._schedule.output, part)
        print(f"error: {part.name}: {reason} (what it printed: {log})", file=sys.stderr)

    @contextmanager
    def _ending_all(self) -> Iterator[None]:
        """Let no worker outlive the block; what ends it early is told to all of them."""
        with at_last(self._ask_to_end):
            try:
                yield
            except BaseException:
                self._ask_to_end()
                raise
            finally:
                for process in self._processes:
                    process.join()

    def _ask_to_end(self) -> None:
        for process in self._processes:
            if process.pid is not None and process.exitcode is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, requests.number or signal.SIGTERM)


def _how_it_ended(status: int | None) -> str:
    """Return what became of a process that said nothing more.

    >>> _how_it_ended(-9), _how_it_ended(1)
    ('its process was killed by SIGKILL', 'its process ended with status 1')
    """
    if status is not None and status < 0:
        return f"its process was killed by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


@contextmanager
def _environment(desk: Desk) -> Iterator[None]:
    """Let a process that is started inside have a desk's variables."""
    before = {name: os.environ.get(name) for name in desk}
    os.environ.update(desk)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
