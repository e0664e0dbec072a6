"""Two and three processes that torchrun starts answer as one: the same files, byte for byte."""

import json

import pytest
import torch

from tests.evaluation.asking.test_resumable import Answers
from tests.evaluation.at_work import PARTS, batches
from tests.whole.torchrun import Ended, run

pytestmark = pytest.mark.slow

PLAIN = ("score", "batches", "matrix", "curate", "heldout", "protocol")
WORK = ("-m", "tests.evaluation.at_work")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def one(folder):
    """What one process writes: with one thread, as torchrun gives each of its processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the number of threads moves a sum by rounding
    for part in PLAIN:
        assert PARTS[part](folder / "one") == 0
    yield folder / "one"
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def two(folder) -> Ended:
    """What two processes said; their files are below two/, broken/ and full/."""
    broken = (folder / "broken", "fails", folder / "full", "full")
    return run([*WORK, folder / "two", *PLAIN, *broken])


def contents(place, kinds=("json", "jsonl", "tsv")):
    """The text of every file by its name; where they lie is named in none of them."""
    if place.is_file():
        return place.read_text()
    return {
        file.relative_to(place): file.read_text()
        for file in sorted(place.rglob("*"))
        if file.suffix.removeprefix(".") in kinds
    }


def test_two_processes_write_the_files_of_one(folder, one, two):
    two.check()
    for part in ("score", "batches", "matrix", "curate", "heldout.json"):
        assert contents(folder / "two" / part) == contents(one / part)
    names = {path.name for path in contents(one)}
    assert {"thoughts.jsonl", "matrix.json", "curate.jsonl", "heldout.json"} <= names
    assert (folder / "two" / "score" / "report.html").is_file()
    assert not list((folder / "two").rglob("*.unfinished"))


@pytest.mark.usefixtures("two")
def test_two_processes_train_an_arm_and_ask_it_as_one(folder, one):
    """Its gradients are added in another order: the weights are others by rounding alone."""
    here, there = (place / "protocol" for place in (folder / "two", one))
    assert (here / "protocol.md").read_text() == (there / "protocol.md").read_text()
    cell = "matrices/modality/think-seed0/cells/CT/CT/predictions.jsonl"
    assert (here / cell).read_text() == (there / cell).read_text()
    assert json.loads((here / "protocol.json").read_text())["complete"]
    assert not (here / "logs").exists()
    assert (here / "train.log").read_text().count("taken from") == 1


def test_an_error_of_one_process_ends_all_and_what_is_answered_is_kept(folder, two):
    assert "rank 0 ended with [0, 0, 0, 0, 0, 0, 2, 2]" in two.out
    assert "rank 1 ended with [0, 0, 0, 0, 0, 0, 2, 2]" in two.out
    assert two.err.count("error: rank 1: the third batch of rank 1") == 1
    assert two.err.count("error: answers cannot be written: no room") == 1
    # batches of 3, 3, 1 and 3: two rounds, of the second of which one batch found no room
    for place, count in (("broken", 10), ("full", 7)):
        unfinished = folder / place / "batches.unfinished"
        assert f"{count} of 28 answers are kept in {unfinished}: the same command" in two.err
        assert (unfinished / "predictions.jsonl").read_text().count("\n") == count


@pytest.mark.usefixtures("two")
def test_one_process_goes_on_where_two_were_broken_off(folder, one):
    answers = Answers()
    assert batches(folder / "full", answers) == 0
    assert contents(folder / "full" / "batches") == contents(one / "batches")
    assert len(answers.batches) == 12 - 3  # nothing is asked twice


@pytest.mark.usefixtures("two")
def test_three_processes_go_on_behind_a_line_that_was_cut(folder, one):
    kept = folder / "broken" / "batches.unfinished" / "predictions.jsonl"
    kept.write_bytes(kept.read_bytes()[:-40])
    run([*WORK, folder / "broken", "batches"], processes=3).check()
    assert contents(folder / "broken" / "batches") == contents(one / "batches")
