"""A folder of several processes: the first of them owns it for all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from process.owner import owned
from process.ranks.current import world


@contextmanager
def first_owns(
    folder: Path, name: Path | None = None, *, temporary: bool = False
) -> Iterator[None]:
    """Let the first process own a folder for all, as long as the block runs; see `owned`."""
    with ExitStack() as stack:

        def take() -> None:
            stack.enter_context(owned(folder, name, temporary=temporary))

        world().by_the_first(f"taking {name or folder}", take)
        yield
