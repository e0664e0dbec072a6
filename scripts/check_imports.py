"""Import modules and report the work done meanwhile: an import should only define names.

    python scripts/check_imports.py grpo models data rewards evaluation --not torch transformers

Work is: reading a file that is no Python code, writing any file, starting a process or a thread,
opening a connection, printing. What the libraries do while they are imported in turn is theirs.
Exit status 1 when there was some, one line each.
"""

import argparse
import contextlib
import importlib
import io
import os
import sys
import threading

CODE = (".py", ".pyc", ".so", ".pyd", ".dylib")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.mkdir"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+", help="imported in this order")
    parser.add_argument("--not", nargs="*", default=[], dest="forbidden", help="must stay unloaded")
    arguments = parser.parse_args()

    work = work_of_importing(arguments.modules)
    work += [f"{name} was imported" for name in arguments.forbidden if name in sys.modules]
    print("\n".join(work) or f"importing {', '.join(arguments.modules)} does no work")
    return 1 if work else 0


def work_of_importing(modules: list[str]) -> list[str]:
    """Import the modules by name; return one line per piece of work that this caused."""
    work: list[str] = []
    watched = {name.split(".")[0] for name in modules}
    listening = True

    def listen(event: str, arguments: tuple) -> None:
        if not listening or (event != "open" and event not in EVENTS):
            return
        if running_module().split(".")[0] not in watched:
            return
        if event != "open":
            work.append(f"{running_module()}: {event} {arguments}")
        elif is_work(*arguments):
            work.append(f"{running_module()}: opened {arguments[0]}")

    sys.dont_write_bytecode = True  # caching byte code is Python's work, not the module's
    sys.addaudithook(listen)
    threads = threading.active_count()
    out = OwnWords(watched)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for name in modules:
            importlib.import_module(name)
    listening = False  # an audit hook cannot be removed
    if out.getvalue():
        work.append(f"printed {out.getvalue()!r}")
    if threading.active_count() > threads:
        work.append(f"started {threading.active_count() - threads} threads")
    return work


class OwnWords(io.StringIO):
    """Output that keeps what the watched packages print, and none of what their libraries do."""

    def __init__(self, watched: set[str]) -> None:
        super().__init__()
        self._watched = watched

    def write(self, text: str) -> int:
        if running_module().split(".")[0] in self._watched:
            super().write(text)
        return len(text)


def running_module() -> str:
    """Return the name of the module whose body is being run just now."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


def is_work(path: object, _mode: object, flags: int) -> bool:
    """Whether opening a file is more than loading code: arguments as in the audit event `open`."""
    if not isinstance(path, str):
        return False
    # importlib.metadata, by which libraries look for each other, reads these and sys.path's zip.
    lookup = ".dist-info" in path or path in sys.path
    return bool(flags & WRITING) or not (path.endswith(CODE) or lookup)


if __name__ == "__main__":
    sys.exit(main())
