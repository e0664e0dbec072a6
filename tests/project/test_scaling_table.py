"""docs/scaling.md's table of cards is what its script writes."""

import pytest

from scripts import make_scaling_table
from scripts.make_scaling_table import BEGINS, ENDS, rows_of, with_section

pytestmark = pytest.mark.model


def test_the_page_says_what_the_estimate_says(capsys):
    assert make_scaling_table.main(["--check"]) == 0
    assert capsys.readouterr().out == "as it would be written\n"


def test_a_larger_card_never_holds_less_and_more_cards_need_less_each():
    numbers = {}
    for _, way, count, *cells, measured in rows_of("2b"):
        assert measured == "none yet"
        fitting = [not cell.startswith("(") for cell in cells]
        assert fitting == sorted(fitting)
        numbers[way, count] = float(cells[-1].removesuffix(" r").strip("()"))
    for way in ("all of it", "frozen vision"):
        assert numbers[way, "1"] > numbers[way, "2"] > numbers[way, "8"]
    assert numbers["LoRA", "1"] < numbers["frozen vision", "1"] < numbers["all of it", "1"]


def test_only_the_marked_section_is_written():
    page = f"# Page\n{BEGINS}\nold\n{ENDS}\nrest\n"
    assert with_section(page, "new") == f"# Page\n{BEGINS}\nnew\n{ENDS}\nrest\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        with_section("# Page", "new")
