"""A command of several processes in which one of them fails, as its first word says."""

import os
import signal
import sys
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from process.command import shared_command
from process.flag_parser import FlagParser
from process.ranks import world
from process.signals import end_if_asked, interruptible, saying_kept

PARTS = 400  # of a work that lasts until it is ended


@shared_command
def main(argv: Sequence[str] | None = None) -> int:
    parser = FlagParser(prog="failing")
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--who", type=int, default=1)
    asked = parser.parse_args(argv)
    print("begun", flush=True)
    is_one = world().rank == asked.who
    with interruptible(), saying_kept(lambda: "2 of 4 steps are saved"):
        return CASES[asked.case](is_one)


def works(is_one: bool) -> int:
    for number in range(PARTS):
        with world().together("rewards"):
            if is_one and number == 20:  # the others know by then what it is at
                print(f"at work {os.getpid()}", file=sys.__stderr__, flush=True)
            time.sleep(0.05)
            end_if_asked()
    return 0


def works_alone(is_one: bool) -> int:
    """One works for long and comes no further; the others wait."""
    with world().together("rewards"):
        if is_one:
            print(f"at work {os.getpid()}", file=sys.__stderr__, flush=True)
            time.sleep(16)  # of which 12 are patience
    return 0


def computes(is_one: bool) -> int:
    """All exchange by themselves, as an update does."""
    world().part = "update"
    with world().exchanging():
        for number in range(10 * PARTS):
            if is_one and number == 100:  # the others know by then what it is at
                print(f"at work {os.getpid()}", file=sys.__stderr__, flush=True)
            dist.all_reduce(torch.ones(1))
            time.sleep(0.005)
    return 0


def does_otherwise(is_one: bool) -> int:
    """One does not come to what all others compute together."""
    world().part = "update"
    with world().exchanging():
        if not is_one:
            dist.all_reduce(torch.ones(1))
    with world().together("rewards"):
        time.sleep(60)
    return 0


def explains(is_one: bool) -> int:
    try:
        with world().together("rewards"):
            if is_one:
                raise ValueError("row 3 has no answer")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def explains_alone(is_one: bool) -> int:
    """Of an error that only one has, outside of what they do together."""
    if is_one:
        print("error: no such file: /data/x", file=sys.stderr)
        return 2
    with world().together("rewards"):
        pass
    return 0


def all_explain(is_one: bool) -> int:
    time.sleep(0.5 * is_one)
    print("error: no such model", file=sys.stderr)
    return 2


def breaks(is_one: bool) -> int:
    with world().together("rewards"):
        if is_one:
            raise KeyError("a bug")
    return 0


def breaks_alone(is_one: bool) -> int:
    if is_one:
        raise KeyError("a bug")
    with world().together("rewards"):
        pass
    return 0


def is_asked(is_one: bool) -> int:
    """A signal comes to one of them alone."""
    if is_one:
        os.kill(os.getpid(), signal.SIGTERM)
    return works(False)


def ends(is_one: bool) -> int:
    time.sleep(0.3 * is_one)
    return 0


CASES = {
    name: case
    for name, case in list(globals().items())
    if getattr(case, "__module__", None) == __name__ and name != "main" and callable(case)
}

if __name__ == "__main__":
    sys.exit(main())
