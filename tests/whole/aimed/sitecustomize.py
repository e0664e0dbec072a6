"""Sends signals to its own process at an aimed moment; Python imports this file before all else.

AIMED_AT names the moment, most as Python's audit events do (sys.addaudithook), and what it is
about:

    import torch                       a module is imported for the first time
    open metrics.jsonl                 a file of that name is opened
    os.mkdir .step-000002.unfinished   a folder is made
    os.rename step-000002              a file or a folder comes to its place
    call PolicyOptimizer.step          a function is called, by the main thread

At the AIMED_NTH such moment it sends AIMED_SIGNAL AIMED_TIMES times, 20 ms apart, and lets the
moment last for AIMED_LASTS seconds. AIMED_GRACE is the grace time of the process.
"""

import os
import signal
import sys
import time


def aim(environment: dict[str, str]) -> None:
    """Watch for the moment that the environment names, if it names one."""
    event, _, about = environment.get("AIMED_AT", "").partition(" ")
    if not event:
        return
    number = int(environment.get("AIMED_SIGNAL", signal.SIGTERM))
    times = int(environment.get("AIMED_TIMES", "1"))
    left = [int(environment.get("AIMED_NTH", "1"))]

    def watch(found: str, arguments: tuple) -> None:
        if found != event or not left[0] or not any(map(is_about, arguments)):
            return
        left[0] -= 1
        if left[0]:
            return
        os.write(1, f"aimed at {event} {about}\n".encode())
        for nth in range(times):
            time.sleep(0.02 if nth else 0)
            os.kill(os.getpid(), number)
        time.sleep(float(environment.get("AIMED_LASTS", "0")))

    def is_about(argument: object) -> bool:
        return str(argument).rpartition("/")[2] == about

    if event == "call":
        sys.setprofile(lambda frame, found, _: watch(found, (frame.f_code.co_qualname,)))
    else:
        sys.addaudithook(watch)
    if "AIMED_GRACE" in environment:
        from process.signals import requests

        requests.grace = float(environment["AIMED_GRACE"])


aim(dict(os.environ))
