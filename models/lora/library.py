"""peft, the library of the adapters, imported at its first use: nothing else needs it."""

import logging
from typing import Any

from process.called import install_line


def peft() -> Any:
    """Return the library.

    Raises:
        ValueError: it is not installed.
    """
    # It imports bitsandbytes where that is installed, which may talk about 4-bit products then.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import peft as library
    except ImportError as error:
        raise ValueError(
            f"adapters (--lora-rank, or a --model that is one) need the library peft ({error}):"
            f" install it with: {install_line('peft >= 0.21')} (it is the extra [lora])"
        ) from error
    return library
