"""No capability is lost: flags, help, contracts, files and keys are those of the golden inventory.

scripts/make_inventory.py takes up what is new; what is gone or changed is edited there by hand.
"""

from pathlib import Path

import pytest

from scripts.inventory.contents import contents, form
from scripts.inventory.contracts import all_contracts
from scripts.inventory.difference import compare
from scripts.inventory.flags import all_flags
from scripts.inventory.storage import dump, load
from scripts.inventory.written import all_written

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "tests" / "golden" / "inventory.json").read_text(encoding="utf-8")
GOLDEN = load(TEXT)


def check_same(kept, found) -> None:
    if difference := str(compare(kept, found)):
        pytest.fail(difference, pytrace=False)


def test_every_command_takes_its_flags_and_explains_them_in_the_same_words():
    check_same(GOLDEN["flags"], all_flags())


def test_what_python_code_imports_is_where_it_was():
    check_same(GOLDEN["contracts"], all_contracts())


def test_every_command_writes_its_files_with_their_keys(tmp_path):
    check_same(GOLDEN["files"], all_written(tmp_path))


# --- the comparison itself ----------------------------------------------------------------------

KEPT = {
    "flags": {"train.py": {"--seed": {"help": "of the order", "takes": "N"}}},
    "files": {"train.py": {"run.json": {".": ["config", "seeds"], "seeds": ["order"]}}},
}


def changed(path, value):
    """Return KEPT with another value at a path; None takes it away."""
    copy = load(dump(KEPT))
    *way, last = path
    inner = copy
    for name in way:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copy


def test_equal_inventories_have_nothing_to_say():
    assert str(compare(KEPT, changed(("flags",), KEPT["flags"]))) == ""


@pytest.mark.parametrize(
    ("path", "value", "lines"),
    [
        (("flags", "train.py", "--seed"), None, ["missing: flags > train.py > --seed"]),
        (("files", "train.py"), None, ["missing: files > train.py"]),
        (
            ("files", "train.py", "run.json", "."),
            ["seeds"],
            ["missing: files > train.py > run.json > . > config"],
        ),
        (
            ("flags", "train.py", "--seed", "help"),
            "of all",
            [
                "changed: flags > train.py > --seed > help",
                "    before: of the order",
                "    now:    of all",
            ],
        ),
    ],
)
def test_what_is_gone_or_changed_is_named_once_and_is_a_decision(path, value, lines):
    difference = compare(KEPT, changed(path, value))
    *said, way_on = str(difference).splitlines()
    assert said == lines
    assert "bring them back" in way_on and "by hand" in way_on
    assert not difference.new


def test_what_is_new_is_taken_up_by_the_script():
    difference = compare(KEPT, changed(("files", "train.py", "best.json"), {".": ["step"]}))
    assert str(difference).splitlines() == [
        "new: files > train.py > best.json",
        "If these are meant: python scripts/make_inventory.py takes them up.",
    ]
    assert not difference.missing and not difference.changed


def test_a_name_that_a_choice_gets_is_new_and_one_that_it_loses_is_missing():
    one, two = ({"--x": {"takes": names}} for names in (["a", "b"], ["c", "a"]))
    difference = compare(one, two)
    assert difference.new == ["--x > takes > c"]
    assert difference.missing == ["--x > takes > b"]
    assert not difference.changed


def test_the_file_is_as_the_script_writes_it():
    assert dump(GOLDEN) == TEXT


def test_a_file_that_holds_what_another_holds_is_written_once():
    same = {".": ["step", "reward"]}
    inventory = {"files": {"a": {"x.jsonl": same, "empty": {}}, "b": {"y.jsonl": same}}}
    assert '"y.jsonl": "as a: x.jsonl"' in dump(inventory)
    assert load(dump(inventory)) == inventory


@pytest.mark.parametrize(
    ("name", "without_data"),
    [
        ("cells/CT/Lesion-Grading/step-000100.json", "cells/<slice>/<slice>/step-<n>.json"),
        ("CT_train.json", "<slice>_train.json"),
        ("B", "<letter>"),
        ("sha256", "sha256"),
        ("by_modality", "by_modality"),
    ],
)
def test_names_that_come_from_the_data_are_made_one(name, without_data):
    assert form(name) == without_data


def test_keys_are_found_at_every_depth(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"step": 1, "cells": [{"n": null}]}\n{"rewards": {"format": 0.5}}\n')
    top = {(".", "step"), (".", "cells"), (".", "rewards")}
    assert contents(file) == top | {("cells[]", "n"), ("rewards", "format")}
