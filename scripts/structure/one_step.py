"""Run one GRPO step on a CPU and write down every function that it runs through.

    python scripts/structure/one_step.py ROOT FILE.json

It trains the embedded model for one step with ROOT's train.py, in a temporary folder. FILE lists
what ran in the main thread while `train_step` did: file, first line, name. measure_structure.py
counts it; nothing of that is imported here, since ROOT may be another checkout with modules of the
same names.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

FLAGS = ("--max-steps", "1", "--eval-limit", "1", "--device", "cpu", "--save-every", "0")
STEP = ("step.py", "train_step")


def main() -> int:
    root, file = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    sys.path[0] = str(root)  # ROOT's modules, not those beside this file
    import train

    seen: set[CodeType] = set()
    with TemporaryDirectory() as folder:
        sys.setprofile(watcher(seen))
        try:
            status = train.main([*FLAGS, "--output-dir", f"{folder}/run"])
        finally:
            sys.setprofile(None)
    if status == 0:
        assert seen, f"{STEP[1]} of {STEP[0]} did not run"
        file.write_text(json.dumps(functions_in(root, seen)), encoding="utf-8")
    return status


def functions_in(root: Path, seen: set[CodeType]) -> list[tuple[str, int, str]]:
    """Return (path from the root, first line, name) of the code that lies in it."""
    found = ((Path(code.co_filename), code) for code in seen)
    return sorted(
        (path.relative_to(root).as_posix(), code.co_firstlineno, code.co_name)
        for path, code in found
        if path.is_relative_to(root)
    )


def watcher(seen: set[CodeType]) -> Any:
    """Return a profile function that keeps the code of what runs inside `train_step`."""
    outer: list[FrameType] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            if not outer and (Path(frame.f_code.co_filename).name, frame.f_code.co_name) == STEP:
                outer.append(frame)
            if outer:
                seen.add(frame.f_code)
        elif event == "return" and outer and frame is outer[0]:
            outer.clear()

    return watch


if __name__ == "__main__":
    sys.exit(main())
