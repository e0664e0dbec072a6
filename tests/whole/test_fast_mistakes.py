"""--help and what can be wrong on a command line are answered before torch is imported.

Importing torch and transformers takes seconds, so which modules are loaded is what is looked at, in
a process of its own, and no time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

HEAVY = ("torch", "transformers")

# Runs a script or a module as `python` does; the last line of stderr names what was imported.
RUNNER = """
import atexit, runpy, sys
what, *arguments = sys.argv[1:]
atexit.register(lambda: print("LOADED", *sorted(sys.modules), file=sys.stderr))
sys.argv = [what, *arguments]
(runpy.run_path if what.endswith(".py") else runpy.run_module)(what, run_name="__main__")
"""


def call(tmp_path: Path, command: str, *arguments: str) -> tuple[int, str, str, set[str]]:
    """Return the status, stdout, stderr and imported modules of a command run in a folder."""
    what = str(ROOT / command) if command.endswith(".py") else command
    result = subprocess.run(
        [sys.executable, "-B", "-c", RUNNER, what, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    error, _, loaded = result.stderr.rpartition("LOADED")
    return result.returncode, result.stdout, error, set(loaded.split())


HELPS = [
    ("train.py",),
    ("evaluate.py",),
    ("evaluate.py", "ask"),
    ("evaluate.py", "matrix"),
    ("evaluate.py", "compare"),
    ("evaluate.py", "export"),
    ("data.phantoms",),
    ("data.audit",),
    ("data.convert",),
    ("data.splits",),
    ("evaluation.curate",),
    ("evaluation.report",),
]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_does_not_wait_for_torch(command, tmp_path):
    status, printed, error, loaded = call(tmp_path, *command, "--help")
    assert (status, error) == (0, "") and printed.startswith("usage: ")
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_an_unknown_flag_does_not_wait_for_torch(command, tmp_path):
    status, printed, error, loaded = call(tmp_path, *command, "--no-such-flag")
    assert (status, printed) == (2, "") and error.startswith("error: ") and error.count("\n") == 1
    assert not loaded & set(HEAVY)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working directory with one question without its image, a rewards file, a foreign model."""
    row = {
        "image": "Images/S/1.png",
        "problem": "Which? A)CT, B)MRI",
        "solution": "<answer> A </answer>",
    }
    (tmp_path / "CT_train.json").write_text(json.dumps([row]))
    (tmp_path / "own.py").write_text("def ok(completion, example, mode):\n    return 0.0\n")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bad.toml").write_text("learning_rat = 1\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "something").touch()
    return tmp_path


TRAIN_MISTAKES = [
    ("--max-steps many", "argument --max-steps: invalid int value"),
    ("--mode thinking", "mode='thinking' is unknown: use one of think"),
    ("--group-size 1 --temperature 0", "group_size=1 must be at least 2"),
    ("--device gpu", "device 'gpu' is not there: use one of cpu, cuda, cuda:N, auto"),
    ("--reference-device cud", "reference_device 'cud' is not there"),
    ("--epochs 1 --max-steps 2", "both say how long the run is"),
    ("--method sft --beta 0.1", "--beta: not used by --method sft"),
    ("--method sft --mode think", "mode=think does not go with method=sft"),
    ("--config nowhere.toml", "config nowhere.toml cannot be read"),
    ("--config bad.toml", "is it learning_rate?"),
    ("--resume taken --config bad.toml", "--config cannot be given with --resume"),
    ("--resume taken", "run.json cannot be read"),
    ("--output-dir taken", "output directory taken is not empty"),
    ("--rewards acuracy", "unknown reward 'acuracy': use one of accuracy, format, token_f1, or"),
    ("--rewards own.py:missing", "defines no function 'missing'"),
    ("--rewards nowhere.py:f", "there is no file"),
    ("--prompt-template nowhere.txt", "nowhere.txt"),
    ("--model nowhere --train-json CT_train.json", "no model directory nowhere"),
    ("--model bert --train-json CT_train.json", "model_type 'bert'"),
    ("--model tiny --train-json nowhere.json --image-root .", "nowhere.json"),
    ("--model tiny --train-json CT_train.json", "add --image-root"),
    ("--model tiny --train-json CT_train.json --image-root nowhere", "check --image-root"),
    ("--model tiny --train-json CT_train.json --image-root .", "1 of 1 image files are missing"),
    ("--model tiny --train-json phantoms:Lungs", "'Lungs' of the phantoms: use one of CT, MRI"),
    ("--model tiny --train-json phantoms --eval-json nowhere.json --image-root .", "nowhere.json"),
]


@pytest.mark.parametrize(("flags", "message"), TRAIN_MISTAKES)
def test_a_mistake_in_what_train_is_given_does_not_wait_for_torch(flags, message, folder):
    before = sorted(folder.rglob("*"))
    status, _, error, loaded = call(folder, "train.py", *flags.split())
    assert status == 2 and message in error and error.count("error: ") == 1
    assert "Traceback" not in error and not loaded & set(HEAVY)
    assert sorted(folder.rglob("*")) == before


ASK = "ask --model tiny --image CT.png --question Which? --options CT MRI"
OTHER_MISTAKES = [
    ("evaluate.py", "--model tiny", "--model tiny without --json"),
    ("evaluate.py", "--mode thinking", "unknown mode 'thinking': use one of think, no_think"),
    ("evaluate.py", "--device gpu", "device 'gpu' is not there"),
    ("evaluate.py", "--dtype int8", "dtype 'int8' is unknown: use one of"),
    ("evaluate.py", "--limit 0", "--limit 0 must be at least 1"),
    ("evaluate.py", "--controls noise", "unknown control 'noise'"),
    ("evaluate.py", "--controls blur:0", "'0' is no radius"),
    ("evaluate.py", "--export helm", "unknown evaluator 'helm'"),
    ("evaluate.py", "--thoughts none", "none"),
    ("evaluate.py", "--shuffle-within modality", "add --controls shuffled"),
    ("evaluate.py", "--prompt-template nowhere.txt", "nowhere.txt"),
    ("evaluate.py", "--output-dir taken", "output directory taken holds"),
    ("evaluate.py", "--text-prior nowhere.json", "nowhere.json"),
    ("evaluate.py", "--model nowhere --json phantoms", "no model directory nowhere"),
    ("evaluate.py", "--model taken --json phantoms", "config.json"),
    ("evaluate.py", "--model tiny --json nowhere.json --image-root .", "nowhere.json"),
    ("evaluate.py", "--model tiny --json CT_train.json", "add --image-root"),
    ("evaluate.py", "--model tiny --json CT_train.json --image-root .", "image files are missing"),
    ("evaluate.py", ASK, "--image CT.png: no such file"),
    ("evaluate.py", f"{ASK} --device gpu", "device 'gpu' is not there"),
    ("evaluate.py", ASK.replace("tiny", "nowhere").replace("CT.png", "own.py"), "nowhere"),
    ("evaluate.py", "matrix --models CT=tiny --json x.json --output-dir o", "x"),
    ("evaluate.py", "matrix --models CT=taken --json phantoms:CT --output-dir o", "config.json"),
    ("evaluate.py", "matrix --models CT=no --json phantoms:CT --output-dir o", "directory no"),
    ("evaluate.py", "matrix --models CT=tiny --json phantoms:CT --output-dir taken", "taken"),
    ("evaluate.py", "matrix --models CT=tiny --json phantoms:CT --output-dir o --device g", "'g'"),
    ("evaluate.py", "compare taken taken", "taken"),
    ("evaluate.py", "export taken --to medevalkit", "taken holds no finished evaluation"),
    ("evaluation.curate", "--model tiny --json no.json --image-root . --output-dir o", "no.json"),
    ("evaluation.curate", "--model tiny --json phantoms --output-dir taken", "something else"),
    ("evaluation.curate", "--model no --json phantoms --output-dir o", "directory no"),
    ("evaluation.curate", "--model tiny --json phantoms --output-dir o --drop all", "all"),
    ("evaluation.report", "taken", "has none of"),
    ("train.py", "--protocol nowhere.toml", "protocol nowhere.toml cannot be read"),
    ("train.py", "--protocol bad.toml", "learning_rat"),
    ("train.py", "--protocol smoke.toml --seed 1", "--seed cannot be given with --protocol"),
    ("train.py", "--protocol smoke.toml --output-dir taken", "no protocol to go on with"),
    ("train.py", "--protocol smoke.toml --device gpu", "device 'gpu' is not there"),
    ("train.py", "--protocol real.toml", "is not a folder"),
    ("data.phantoms", "--output-dir taken", "taken is not an empty folder"),
    (
        "evaluate.py",
        "comapre taken taken",
        "unknown subcommand 'comapre': use ask, matrix,",
    ),
    ("evaluate.py", ASK.replace("CT.png", "own.py"), "own.py cannot be decoded"),
    *(
        (command, f"{flags} --output-dir own.py/o", "own.py/o cannot be made, ")
        for command, flags in (
            ("train.py", ""),
            ("train.py", "--protocol smoke.toml"),
            ("evaluate.py", ""),
            ("evaluate.py", "matrix --models CT=tiny --json phantoms:CT"),
            ("evaluation.curate", "--model tiny --json phantoms:CT"),
            ("data.phantoms", ""),
            ("data.audit", "CT_train.json"),
            ("data.splits", "CT_train.json"),
        )
    ),
    ("data.phantoms", "--output-dir o --rows-per-cell 0", "must be at least 1"),
    ("data.audit", "nowhere.json", "nowhere.json"),
    ("data.convert", "nowhere.json o --to jsonl", "nowhere.json does not exist"),
    ("data.splits", "nowhere.json --output-dir o", "nowhere.json"),
]


@pytest.mark.parametrize(("command", "flags", "message"), OTHER_MISTAKES)
def test_no_other_command_waits_for_torch_to_tell_a_mistake(command, flags, message, folder):
    smoke = (ROOT / "configs" / "protocol_smoke.toml").read_text()
    (folder / "smoke.toml").write_text(smoke)
    folders = 'train_dir = "no"\ntest_dir = "no"\nimage_root = "no"'
    (folder / "real.toml").write_text(smoke.replace("phantoms = true", folders))
    status, _, error, loaded = call(folder, command, *flags.split())
    assert status == 2 and message in error and "Traceback" not in error
    assert error.count("error: ") == 1 and "usage: " not in error
    assert not loaded & set(HEAVY)


def test_nothing_is_said_of_a_run_whose_folder_is_in_use(folder):
    for flags in ("", "--train-json phantoms:CT"):
        status, printed, _, _ = call(folder, "train.py", "--output-dir", "taken", *flags.split())
        assert (status, printed) == (2, "")


def test_an_empty_name_of_an_evaluations_folder_is_the_working_directory(folder):
    status, printed, error, _ = call(folder, "evaluate.py", "--output-dir", "")
    assert (status, printed) == (2, "") and error.startswith("error: output directory . holds")
