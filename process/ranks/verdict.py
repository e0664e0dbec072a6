"""Why the processes of a command end before their work is done, in one line."""

import json
import signal
from dataclasses import asdict, dataclass
from typing import Self

from process.signals import last_line


@dataclass(frozen=True)
class Verdict:
    """The one reason; whoever finds it first says it, and all others end with it."""

    kind: str  # gone, silent, stalled, stuck, missing, store, ended, signal
    rank: int  # whom it is about
    part: str = ""  # what that one was at
    seconds: float = 0.0
    reason: str = ""  # what it said itself, or a library did
    number: int = signal.SIGTERM  # of a signal

    @property
    def status(self) -> int:
        """The exit status of all."""
        return 128 + self.number if self.kind == "signal" else 2

    def line(self, kept: str = "") -> str:
        """Return the line that is printed once.

        Args:
            kept: what stays of the work.
        """
        if self.kind == "signal":
            return f"{last_line(self.number, kept)} (rank {self.rank} was asked to end)"
        return f"error: {self._error()}" + (f"\n{kept}" if kept else "")

    def _error(self) -> str:
        who, where, time = f"rank {self.rank}", f"at {self.part}", f"{self.seconds:.0f} s"
        return {
            "gone": f"{who} is gone, {where}: its process was killed or has crashed",
            "silent": f"{who} has not been heard of for {time}, {where}: its process was stopped,"
            " or its machine is gone or cut off",
            "stalled": f"{who} has not come further for {time}, {where}; the others wait for it",
            "stuck": f"{who} is stuck {where}, in what all processes compute together: another one"
            f" is gone or does something else ({self.reason})",
            "missing": f"after {time} only {self.reason} processes are there: see why the others"
            " have not started",
            "store": "the place where the processes meet cannot be reached: torchrun has ended"
            f" there, or its machine is cut off ({self.reason})",
            "ended": f"{who}: {self.reason}",
        }[self.kind]

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str | bytes) -> Self:
        """Return what `text` has written."""
        return cls(**json.loads(text))
