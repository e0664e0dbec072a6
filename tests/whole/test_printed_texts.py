"""Every table that is printed or written says what it said, to the last space and digit.

A text that is meant to change is written anew with ``python -m tests.whole.printed``.
"""

import json

import pytest

from tests.whole.printed import GOLDEN, everything

pytestmark = pytest.mark.unit

FILES = sorted(file.name for file in GOLDEN.iterdir())


@pytest.fixture(scope="module")
def found():
    return everything()


def test_the_golden_folder_holds_all_of_them(found):
    assert sorted(found) == FILES


@pytest.mark.parametrize("name", FILES)
def test_it_is_as_it_was(found, name):
    golden = (GOLDEN / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert rounded(found[name]) == rounded(golden)
    else:
        assert found[name] == golden


def rounded(text):
    """Return JSON's values, floats to 12 digits: another machine adds up in another order."""
    return json.loads(text, parse_float=lambda number: f"{float(number):.12g}")
