"""What each of the processes of test_directory_ranks.py does; prints one JSON line."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from grpo.run.directory import RunDirectory
from process.ranks import joined, world

CONFIG = {"method": "grpo", "prompts_per_step": 1, "group_size": 1}
CONFIG |= {"model": "some/model", "train_json": [], "rewards": []}
STORED = {"config": CONFIG, "checksums": {}, "prompt_template": "", "resumed": [], "total_steps": 2}


def main(folder: Path) -> dict:
    with joined():
        # As on machines that share no disk: whatever another process wrote would not be here.
        here = folder / f"disk-of-{world().rank}"
        here.mkdir()
        os.chdir(here)
        run = RunDirectory.choose("", "some/model")
        with run.owned():
            said = write(run)
        said["refused"] = ""
        try:
            RunDirectory.choose(str(run.path), "m")
        except ValueError as error:
            said["refused"] = f"{error}"
        with suppress(OSError):  # of the first one, which the others are told
            RunDirectory(here / "nowhere").write({"x": 1})
    files = (str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    return said | {"files": sorted(files)}


def write(run: RunDirectory) -> dict:
    run.begin(STORED, 0)
    for step in (1, 2):
        run.append_step({"step": step}, [{"step": step}])
    run.write_evaluation(0, {"overall": {"accuracy": 0.5}})
    run.lines_to_disk()
    again, found = RunDirectory.open(str(run.path))
    again.begin({**found, "resumed": [{}]}, 1)
    return {
        "path": str(run.path),
        "evaluations": [run.read_evaluation(step) for step in (0, 1)],
        "opened": [str(again.path), found == STORED],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))), flush=True)
