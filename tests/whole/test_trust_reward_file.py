"""Reward code that a file names, and nobody typed, runs only where it is trusted."""

import hashlib
import json
from pathlib import Path

import pytest

import train

REWARD = """
from pathlib import Path

with Path({mark!r}).open("a") as stream:
    stream.write("x")

def length(completion, example, mode):
    return len(completion) % 5
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run of one step whose reward lies in `elsewhere`; the current folder is `here`."""
    folder = tmp_path_factory.mktemp("trusted")
    for name in ("here", "elsewhere"):
        (folder / name).mkdir()
    reward = REWARD.format(mark=str(folder / "ran.txt"))
    (folder / "elsewhere/own.py").write_text(reward, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "here")
        assert train.main([*SMALL, "--rewards", "../elsewhere/own.py:length", *OUT]) == 0
    assert (folder / "ran.txt").exists()  # named on the command line: nothing is asked
    return folder


SMALL = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device", "cpu"),
    *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "2"),
    *("--learning-rate", "1e-4", "--warmup-steps", "0", "--max-steps", "1"),
]
OUT = ["--output-dir", "run"]


@pytest.fixture
def here(begun, monkeypatch) -> Path:
    monkeypatch.chdir(begun / "here")
    (begun / "ran.txt").unlink(missing_ok=True)
    return begun


def refused(words: list[str], file: Path, capsys) -> str:
    """Return the one message of a command that must not have run the file."""
    assert train.main(words) == 2
    told = capsys.readouterr().err
    assert told.count("error: ") == 1 and "Traceback" not in told
    assert str(file) in told and "add --trust-reward-file" in told
    assert not (file.parents[1] / "ran.txt").exists()
    return told


def test_a_run_that_goes_on_does_not_run_code_from_elsewhere_unasked(here, capsys):
    file = here / "elsewhere/own.py"
    told = refused(["--resume", "run", "--max-steps", "2"], file, capsys)
    assert "--resume run: run.json names reward code" in told
    assert train.main(["--resume", "run", "--max-steps", "2", "--trust-reward-file"]) == 0
    assert f"reward code: {file} runs as part of this run" in capsys.readouterr().out
    assert (here / "ran.txt").exists()


def test_who_names_it_needs_no_word(here):
    flags = ["--resume", "run", "--max-steps", "3", "--rewards", "../elsewhere/own.py:length"]
    assert train.main(flags) == 0 and (here / "ran.txt").exists()


def test_another_file_than_the_runs_is_not_run_where_it_is_named(here, capsys):
    other = here / "elsewhere/other.py"
    other.write_text((here / "elsewhere/own.py").read_text() + "# another\n")
    flags = ["--resume", "run", "--max-steps", "4", "--rewards", f"{other}:length"]
    assert train.main(flags) == 2
    assert "changed since the run began" in capsys.readouterr().err
    assert not (here / "ran.txt").exists()


@pytest.mark.parametrize("link", [False, True])
def test_code_within_the_run_is_as_foreign_as_the_run(link, here, capsys):
    """A run that was unpacked into the current folder brings its code along, or a link to it."""
    evil = here / "here/run/evil.py"
    if link:
        evil = here / "here/evil.py"
        evil.symlink_to(here / "elsewhere/own.py")
        evil = here / "elsewhere/own.py"
    else:
        evil.write_text((here / "elsewhere/own.py").read_text())
    file = here / "here/run/run.json"
    before = file.read_text(encoding="utf-8")
    description = json.loads(before)
    named = str(here / "here/evil.py" if link else evil)
    description["config"]["rewards"] = [f"{named}:length"]
    checksum = hashlib.sha256(evil.read_bytes()).hexdigest()
    description["checksums"] = {f"reward {named}:length": checksum}
    file.write_text(json.dumps(description), encoding="utf-8")
    try:
        assert train.main(["--resume", "run", "--max-steps", "4"]) == 2
        told = capsys.readouterr().err
        assert str(evil) in told and "add --trust-reward-file" in told
        assert not (here / "ran.txt").exists()
    finally:
        file.write_text(before, encoding="utf-8")


PROTOCOL = """
model = "tiny"
output_dir = "protocol"
methods = ["think"]
steps = 1
[data]
phantoms = true
[modality]
slices = ["CT"]
[settings.grpo]
rewards = ["{name}"]
"""


@pytest.mark.parametrize("kind", ["--config", "--protocol"])
def test_nor_does_a_file_of_settings(kind, here, capsys):
    own = here / "elsewhere/own.py"
    file = here / "elsewhere/settings.toml"
    text = 'rewards = ["{name}"]\n' if kind == "--config" else PROTOCOL
    file.write_text(text.format(name=f"{own}:length"), encoding="utf-8")
    fresh = [*SMALL, "--output-dir", "fresh"] if kind == "--config" else []
    refused([*fresh, kind, str(file)], own, capsys)
    assert not (here / "here/protocol").exists()
    if kind == "--config":
        assert not (here / "here/fresh").exists()
        assert train.main([*fresh, kind, str(file), "--trust-reward-file"]) == 0
        assert f"reward code: {own} runs" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_the_flag_where_nothing_is_to_be_trusted_is_a_mistake(capsys):
    flags = ["--rewards", "../elsewhere/own.py:length", "--trust-reward-file"]
    assert train.main([*SMALL, *flags, "--output-dir", "none"]) == 2
    assert "--trust-reward-file: no file names a reward here" in capsys.readouterr().err


def test_what_a_broken_off_run_says_to_type_works_as_it_stands(here, capsys):
    breaking = here / "elsewhere/breaking.py"
    breaking.write_text(
        "from pathlib import Path\n"
        "def length(completion, example, mode):\n"
        "    if Path('broken/metrics.jsonl').is_file():\n"
        "        raise KeyboardInterrupt\n"
        "    return 1.0\n"
    )
    flags = ["--rewards", f"{breaking}:length", "--output-dir", "broken", "--max-steps", "2"]
    assert train.main([*SMALL, *flags]) == 130
    assert "--resume broken --trust-reward-file" in capsys.readouterr().err
