"""Import modules and report the work done meanwhile: an import should only define names.

    python scripts/check_imports.py grpo models data rewards evaluation --not torch transformers

Work is: reading a file that is no Python code, writing any file, starting a process or a thread,
opening a connection, printing. Exit status 1 when there was some, one line each.
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
    parser.add_argument("--after", nargs="*", default=[], help="imported before the watch begins")
    parser.add_argument("--not", nargs="*", default=[], dest="forbidden", help="must stay unloaded")
    arguments = parser.parse_args()

    for name in arguments.after:
        importlib.import_module(name)
    work = work_of_importing(arguments.modules)
    work += [f"{name} was imported" for name in arguments.forbidden if name in sys.modules]
    print("\n".join(work) or f"importing {', '.join(arguments.modules)} does no work")
    return 1 if work else 0


def work_of_importing(modules: list[str]) -> list[str]:
    """Import the modules by name; return one line per piece of work that this caused."""
    work: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple) -> None:
        if not listening:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and (flags & WRITING or not path.endswith(CODE)):
                work.append(f"opened {path}")
        elif event in EVENTS:
            work.append(f"{event} {arguments}")

    sys.dont_write_bytecode = True  # caching byte code is Python's work, not the module's
    sys.addaudithook(listen)
    threads = threading.active_count()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        for name in modules:
            importlib.import_module(name)
    listening = False  # an audit hook cannot be removed
    if out.getvalue():
        work.append(f"printed {out.getvalue()!r}")
    if threading.active_count() > threads:
        work.append(f"started {threading.active_count() - threads} threads")
    return work


if __name__ == "__main__":
    sys.exit(main())
