"""passes.jsonl: a process killed at any moment loses one batch, and whole rows are gone on from."""

import pytest

from evaluation.curate.pass_counts import Passes, PassesFile

IDS = ["r-0", "r-1", "r-2", "r-3"]
ROWS = [Passes("r-0", 3, 0), Passes("r-1", 0, 0, unreadable="ein Bild fehlt: Größe?")]


def test_what_was_added_is_read_back(tmp_path):
    file = PassesFile(tmp_path / "passes.jsonl", IDS)
    assert len(file) == 0 and not (tmp_path / "passes.jsonl").exists()
    file.append(ROWS[:1])
    file.append(ROWS[1:])
    assert file.rows == ROWS == PassesFile(tmp_path / "passes.jsonl", IDS).rows


def test_a_line_that_was_cut_off_is_forgotten(tmp_path):
    place = tmp_path / "passes.jsonl"
    PassesFile(place, IDS).append(ROWS)
    whole = place.read_bytes()
    place.write_bytes(whole + b'{"id": "r-2", "pas')
    again = PassesFile(place, IDS)
    assert again.rows == ROWS
    again.keep(2)
    assert place.read_bytes() == whole


def test_a_file_that_ends_inside_a_character_goes_on(tmp_path):
    place = tmp_path / "passes.jsonl"
    PassesFile(place, IDS).append(ROWS)
    whole = place.read_bytes()
    place.write_bytes(whole[: whole.index("ß".encode()) + 1])
    assert PassesFile(place, IDS).rows == ROWS[:1]


def test_rows_behind_a_damaged_line_are_sampled_again_and_that_is_said(tmp_path, capsys):
    place = tmp_path / "passes.jsonl"
    PassesFile(place, IDS).append([*ROWS, Passes("r-2", 1, 1)])
    first, second, third = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(first + second.replace(b"passes", b"pas\xffes") + third)
    assert PassesFile(place, IDS).rows == ROWS[:1]
    assert f"{place}, line 2, is damaged" in capsys.readouterr().err.replace("\n", " ")


def test_rows_that_are_not_kept_are_gone_from_the_file(tmp_path):
    file = PassesFile(tmp_path / "passes.jsonl", IDS)
    file.append(ROWS)
    file.keep(1)
    assert file.rows == PassesFile(tmp_path / "passes.jsonl", IDS).rows == ROWS[:1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": "r-1", "passes": 1, "blank_passes": 0}\n', "is about other rows than the data"),
        ('{"id": "r-0", "passes": 1}\n', "cannot be read .*blank_passes"),
        ("no json\n", "cannot be read"),
    ],
)
def test_a_file_of_other_rows_or_none_of_ours_is_refused_and_left_alone(tmp_path, text, words):
    place = tmp_path / "passes.jsonl"
    place.write_text(text)
    with pytest.raises(ValueError, match=f"{words}.*: remove its directory to sample anew"):
        PassesFile(place, IDS)
    assert place.read_text() == text
