"""Reward code that a file names: said where it is one's own, refused elsewhere until trusted."""

import pytest

from grpo.settings.reward_code import check_trusted, foreign_files


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    (folder / "run").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_code_below_the_current_folder_runs_and_is_said_once_per_file(here, capsys):
    check_trusted(["accuracy", "own.py:a", f"{here}/own.py:b"], "run.json", trusted=False)
    assert capsys.readouterr().out == f"reward code: {here}/own.py runs as part of this run\n"


def test_code_from_elsewhere_or_from_within_the_run_is_refused_until_trusted(
    here, tmp_path, capsys
):
    names = ["accuracy", f"{tmp_path}/theirs.py:a", "run/theirs.py:b", "own.py:c"]
    strange = [tmp_path / "theirs.py", here / "run" / "theirs.py"]
    assert foreign_files(names, here / "run") == strange
    assert foreign_files(names) == strange[:1]
    with pytest.raises(
        ValueError, match=r"run\.json names reward code that lies outside"
    ) as caught:
        check_trusted(names, "run.json", trusted=False, run=here / "run")
    assert all(str(file) in str(caught.value) for file in strange)
    assert capsys.readouterr().out == ""
    check_trusted(names, "run.json", trusted=True, run=here / "run")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_link_that_leads_outside_is_outside(here, tmp_path):
    (tmp_path / "theirs.py").touch()
    (here / "mine.py").symlink_to(tmp_path / "theirs.py")
    assert foreign_files(["mine.py:a"]) == [tmp_path / "theirs.py"]
