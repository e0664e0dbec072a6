"""scripts/print_coverage.py: the lines and branches of each folder, added up."""

import json

import pytest

from scripts import print_coverage


def file(lines: int, ran: int, branches: int = 0, taken: int = 0) -> dict:
    summary = dict(zip(print_coverage.NAMES, (lines, ran, branches, taken), strict=True))
    return {"summary": summary}


def test_folders_are_added_up_and_all_of_them(tmp_path, capsys):
    files = {
        "evaluation/loss.py": file(10, 10, 4, 3),
        "evaluation/step.py": file(30, 20),
        "evaluation/run/best.py": file(1000, 999, 0, 0),
    }
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"files": files}), encoding="utf-8")
    assert print_coverage.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "package         lines    run  branches    run",
        "evaluation         40  75.0%         4  75.0%",
        "evaluation/run  1,000  99.9%         0      -",
        "all             1,040  98.9%         4  75.0%",
        "",
        "branches of whole rooms: evaluation 75.0%",
    ]


@pytest.mark.parametrize(("taken", "status"), [(94, 1), (95, 0), (100, 0)])
def test_a_room_of_which_too_few_branches_ran_fails_with_the_files_that_lack_most(
    tmp_path, capsys, taken, status
):
    files = {
        "grpo/loss.py": file(10, 10, 60, taken - 40),
        "grpo/run/best.py": file(10, 10, 39, 39),
        "grpo/run/directory.py": file(10, 10, 1, 1),
        "evaluation/ask.py": file(10, 0, 100, 0),  # of which nothing is asked
    }
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"files": files}), encoding="utf-8")
    assert print_coverage.main([str(path)]) == status
    said = capsys.readouterr().out.partition("branches of whole rooms: ")[2].splitlines()
    assert said[0] == f"evaluation 0.0% grpo {taken}.0%"
    assert said[1:] == (
        [
            "grpo: 94 of 100 branches ran, 94.0%: at least 95% must",
            "  grpo/loss.py: 6 did not",
        ]
        if status
        else []
    )
