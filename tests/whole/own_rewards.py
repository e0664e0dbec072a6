"""Reward functions as a user writes them, for tests/whole/test_train.py."""


def ascii_count(completion, _example, _mode):
    """How many characters are plain ASCII: a random model writes some, and can learn to."""
    return sum(character < "\x80" for character in completion)


def broken(_completion, _example, _mode):
    """A mistake: no number."""
    return float("nan")
