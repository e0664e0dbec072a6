"""Sends signals to its own process at an aimed moment; Python imports this file before all else.

AIMED_AT names the moment, as Python's audit events do (sys.addaudithook), and what it is about:

    import torch                 the first import of a module
    open metrics.jsonl           a file of that name is opened
    os.rename step-000002        a file or folder comes to that place
    os.mkdir .step-000002.unfin  a folder is made

The hook sends AIMED_SIGNAL to itself there, AIMED_TIMES times with 20 ms between them, and then
lets the moment last for AIMED_LASTS seconds. AIMED_GRACE is the grace time of the process.
"""

import os
import signal
import sys
import time

_EVENT, _, _ABOUT = os.environ.get("AIMED_AT", "").partition(" ")
_NUMBER = int(os.environ.get("AIMED_SIGNAL", signal.SIGTERM))
_TIMES = int(os.environ.get("AIMED_TIMES", "1"))
_LASTS = float(os.environ.get("AIMED_LASTS", "0"))
_state = {"done": False}


def _watch(event: str, arguments: tuple) -> None:
    if event != _EVENT or _state["done"]:
        return
    if not any(_is_about(str(argument)) for argument in arguments):
        return
    _state["done"] = True
    print(f"aimed at {event} {_ABOUT}", flush=True)
    for number in range(_TIMES):
        if number:
            time.sleep(0.02)
        os.kill(os.getpid(), _NUMBER)
    time.sleep(_LASTS)


def _is_about(argument: str) -> bool:
    return argument == _ABOUT or argument.rpartition("/")[2].startswith(_ABOUT)


if _EVENT:
    sys.addaudithook(_watch)
    if "AIMED_GRACE" in os.environ:
        from process.signals import requests

        requests.grace = float(os.environ["AIMED_GRACE"])
