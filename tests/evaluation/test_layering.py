"""Who may import whom inside evaluation/: what was answered is read without knowing who asked."""

import pytest

from tests.project.imports import imports_of, modules_of, watch_imports

BELOW = {"answers", "measures", "asking", "report", "export"}
FRONT = {"ask", "cells", "command_lines", "compare", "heldout", "matrix"}  # files, not folders
FRONT |= {
    "asked_rows",
    "configs",
    "export_command",
    "matrix_command",
    "matrix_json",
    "score",
    "scoring",
}
ROOMS = {
    "answers": set(),
    "measures": {"answers"},
    "asking": {"answers", "measures"},
    "report": {"answers", "measures"},
    "export": {"answers"},
    **dict.fromkeys(FRONT, frozenset(BELOW | FRONT)),
    "protocol": BELOW | FRONT,
    "curate": BELOW | FRONT,
    "data_check": BELOW | FRONT,
    "dry_run": BELOW | FRONT | {"data_check"},
    "train_command": {"dry_run", "protocol"},
}


def test_rooms_follow_the_arrows():
    for path, names in imports_of("evaluation").items():
        room = path.parts[1].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in ROOMS, f"{path}: say in ROOMS what {room} may import"
        used = {name.split(".")[1] for name in names if name.startswith("evaluation.")}
        broken = used - ROOMS[room] - {room}
        assert not broken, f"{path} imports evaluation's {sorted(broken)}: see ROOMS"


def test_a_report_is_made_without_a_model():
    for path, names in imports_of("evaluation/report").items():
        broken = {name for name in names if name.split(".")[0] in ("models", "torch")}
        assert not broken, f"{path} imports {sorted(broken)}: pages are made of files alone"


@pytest.mark.command
@pytest.mark.parametrize("room", ["answers", "measures", "report", "export"])
def test_no_module_of_the_room_loads_torch_directly_or_through_ours(room):
    result = watch_imports(*modules_of(f"evaluation/{room}"), "--not", "torch", "transformers")
    assert result.returncode == 0, result.stdout + result.stderr
