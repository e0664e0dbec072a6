"""Write tests/golden/inventory.json: all flags, contracts, files and keys that there are.

    python scripts/make_inventory.py

It takes up what is new. While anything that it held is gone or changed it writes nothing, says
what, and ends with status 1: that is either a mistake or a decision, which is made by hand.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.inventory.contracts import all_contracts  # noqa: E402
from scripts.inventory.difference import compare  # noqa: E402
from scripts.inventory.flags import all_flags  # noqa: E402
from scripts.inventory.storage import dump, load  # noqa: E402
from scripts.inventory.written import all_written  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "inventory.json"


def inventory(folder: Path) -> dict[str, Any]:
    """Return everything that an inventory holds; the commands write below an empty folder."""
    return {
        "flags": all_flags(),
        "contracts": all_contracts(),
        "files": all_written(folder),
    }


def main() -> int:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")  # not the user's own
        found = inventory(Path(folder))
    if GOLDEN.exists():
        difference = compare(load(GOLDEN.read_text(encoding="utf-8")), found)
        print(str(difference) or "nothing is gone, changed or new")
        if difference.missing or difference.changed:
            return 1
    GOLDEN.write_text(dump(found), encoding="utf-8")
    print(f"written: {GOLDEN.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
