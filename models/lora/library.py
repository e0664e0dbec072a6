"""peft, the library of the adapters, imported at its first use: nothing else needs it."""

from typing import Any


def peft() -> Any:
    """Return the library.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import peft as library
    except ImportError as error:
        raise ValueError(
            f"adapters (--lora-rank, or a --model that is one) need the library peft ({error}):"
            " install it with: pip install 'groupwise[lora]', or pip install 'peft >= 0.21'"
        ) from error
    return library
