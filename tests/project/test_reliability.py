"""docs/reliability.md: what a line names as its proof is there."""

import re

import pytest

from tests.places import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
PLACE = re.compile(r"(?:tests|benchmarks)/[\w/]+\.(?:py|json)(?:::\w+)?")


def lines() -> list[list[str]]:
    """The cells of every line of the page's tables."""
    rows = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("|")]
    return [cells for cells in rows if "---" not in cells[0] and cells[0].strip() != "fault"]


def test_every_line_says_fault_promise_and_proof():
    for cells in lines():
        assert len(cells) == 3, cells
        assert all(cell.strip() for cell in cells), cells


@pytest.mark.parametrize("cells", lines(), ids=lambda cells: cells[0].strip()[:40])
def test_the_proof_is_there(cells):
    places = PLACE.findall(cells[2])
    assert places, f"no file under tests/ or benchmarks/ in {cells[2]!r}"
    for place in places:
        file, _, name = place.partition("::")
        assert (ROOT / file).is_file(), place
        if name:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {name}\(", text), place
