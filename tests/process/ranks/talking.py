"""What each of the processes of tests/process/ranks/test_world.py does; prints one JSON line."""

import json
import sys
from pathlib import Path

import torch

from process.ranks import joined, place, world


def main() -> dict:
    with joined():
        here = world()
        said = {"rank": here.rank, "size": here.size, "gathered": here.gather({"é": here.rank})}
        tensors = here.gather_tensors({"x": torch.arange(here.rank + 1.0), "none": torch.ones(0)})
        said["tensors"] = [part["x"].tolist() for part in tensors]
        said["sum"] = here.add(torch.tensor([1.0 + here.rank])).tolist()
        said["most"] = here.most(7 - here.rank)
        try:
            with here.together("counting"):
                if here.rank == 1:
                    raise ValueError("rows 3 and 4 are the same")
        except ValueError as error:
            said["told"] = f"{error}"
        with here.together("nothing"):
            pass
        kept, there = Path(sys.argv[1]), []
        here.leaders_first("reading", lambda: there.append(kept.exists()) or kept.touch())
        said["found kept"] = there
        return said | {"outside": place().size}


if __name__ == "__main__":
    print(json.dumps(main()), flush=True)
