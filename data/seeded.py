"""Random choices that depend on their arguments alone: not on Python's ``hash``, not on a stream.

A stream of random numbers must be stored to be resumed, and moves when somebody else draws from it.
A digest of what the choice is about needs neither.
"""

import hashlib


def seeded_key(*parts: int | str) -> int:
    """Return 64 uniform bits that depend on ``parts`` alone, the same on every machine.

    >>> seeded_key("order", 0, 1) == seeded_key("order", 0, 1) != seeded_key("order", 0, 2)
    True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def seeded_permutation(length: int, *parts: int | str) -> list[int]:
    """Return a permutation of ``range(length)``, uniform over the values of ``parts``."""
    return sorted(range(length), key=lambda index: seeded_key(*parts, index))
