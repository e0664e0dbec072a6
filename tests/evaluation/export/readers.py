"""Little readers of the evaluators' files that share nothing with what writes them.

Each returns (right, answered) per row: whether the file's own answer is its key, by case and white
space alone, with numbers by their value, and whether there is an answer.
"""

import csv
import json
from pathlib import Path


def scored(answer: str, key: str) -> tuple[bool, bool]:
    one, other = (" ".join(text.split()).casefold() for text in (answer, key))
    try:
        return float(one) == float(other), True
    except ValueError:
        return one == other, one not in ("", "z")


def medevalkit(file: Path) -> list[tuple[bool, bool]]:
    found = json.loads(file.read_text(encoding="utf-8"))
    for row in found:
        assert list(row) == ["prompt", "choices", "answer", "response", "correct"]
        if row["choices"]:
            assert row["choices"][0].startswith("A. ")
            assert row["answer"] in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(row["choices"])]
    return [scored(row["response"], row["answer"]) for row in found]


def vlmevalkit(file: Path) -> list[tuple[bool, bool]]:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    for row in rows:
        assert None not in row and None not in row.values()  # neither too many cells nor too few
        assert row.get(row["answer"], "an option") or row["answer"] not in "ABCD"
    return [scored(row["prediction"], row["answer"]) for row in rows]


def lmms_eval(file: Path) -> list[tuple[bool, bool]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        assert list(row) == ["doc_id", "doc", "target", "resps", "filtered_resps"]
        assert row["doc_id"] == number
        assert row["resps"] == [row["filtered_resps"]]
    return [scored(row["filtered_resps"][0], row["target"]) for row in rows]


READERS = {"medevalkit": medevalkit, "vlmevalkit": vlmevalkit, "lmms-eval": lmms_eval}
