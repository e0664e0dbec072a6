"""scripts/print_coverage.py: the lines and branches of each folder, added up."""

import json

from scripts import print_coverage


def file(lines: int, ran: int, branches: int = 0, taken: int = 0) -> dict:
    summary = dict(zip(print_coverage.NAMES, (lines, ran, branches, taken), strict=True))
    return {"summary": summary}


def test_folders_are_added_up_and_all_of_them(tmp_path, capsys):
    files = {
        "grpo/loss.py": file(10, 10, 4, 3),
        "grpo/step.py": file(30, 20),
        "grpo/run/best.py": file(1000, 999, 0, 0),
    }
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"files": files}), encoding="utf-8")
    assert print_coverage.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "package   lines    run  branches    run",
        "grpo         40  75.0%         4  75.0%",
        "grpo/run  1,000  99.9%         0      -",
        "all       1,040  98.9%         4  75.0%",
    ]
