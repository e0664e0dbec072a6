"""What a start of the processes notes for the next one, if torchrun starts them anew.

torchrun keeps the store in which the processes meet as long as it runs itself, so what stands there
outlives them. With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 it does not, and nothing is noted.
"""

import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from process.ranks.place import place

if TYPE_CHECKING:
    from torch.distributed import Store

_SECONDS = timedelta(seconds=30)


def note(name: str, text: str) -> None:
    """Note a text for the next start, where there can be one."""
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and _is_kept():
        with suppress(RuntimeError):  # a lost note costs what nobody noted would
            _store().set(_key(name), text)


def noted_before(name: str) -> str | None:
    """Return what an earlier start noted; None in the first one, or where nothing was."""
    if place().restarts == 0 or not _is_kept():
        return None
    with suppress(RuntimeError):
        store = _store()
        if store.check([_key(name)]):
            return store.get(_key(name)).decode()
    return None


def _is_kept() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _key(name: str) -> str:
    return f"noted/{os.environ.get('TORCHELASTIC_RUN_ID', '')}/{name}"


def _store() -> "Store":
    from torch.distributed import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=_SECONDS, wait_for_workers=False)
