"""How far apart checkpoints are: `--save-every 200` steps, or `--save-every 30m` of time."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smh])")


def seconds_between(save_every: int | str) -> float | None:
    """Return the seconds from one checkpoint to the next; None where steps are counted.

    >>> seconds_between("90s"), seconds_between("30m"), seconds_between("1.5h")
    (90.0, 1800.0, 5400.0)
    >>> seconds_between(200)

    Raises:
        ValueError: it is no such text.
    """
    if isinstance(save_every, int):
        return None
    found = _TIME.fullmatch(save_every)
    if found is None or float(found[1]) == 0:
        raise ValueError(
            f"save_every={save_every!r} is neither steps nor a time: use a number such as 200, or"
            " 90s, 30m, 2h"
        )
    return float(found[1]) * _UNITS[found[2]]
