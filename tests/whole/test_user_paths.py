"""A ~ that the shell left in a path is the user's home, in every flag and file of every command."""

import argparse
from pathlib import Path

import pytest

from data.audit.__main__ import _parser as audit_parser
from data.phantoms import __main__ as phantoms_command
from data.reading.readers import read_examples
from data.splits.__main__ import _parser as splits_parser
from evaluation import command_lines
from evaluation.curate.curate_config import curate_parser
from evaluation.measures.slices import named_models
from evaluation.protocol.protocol_file import read_protocol
from evaluation.report import __main__ as report_command
from grpo.settings import train_parser
from grpo.settings.choices import PATHS
from grpo.settings.resolve import resolve_config
from grpo.settings.toml_file import read_toml
from models.files import find_checkpoint
from process.paths import expanded, user_path

# Words of metavars that name a file or a folder, and fields of the config that do.
PATH_WORDS = ("FILE", "DIR", "AUDIT", "FILE.toml", "RUN_DIR", "FIRST_DIR", "SECOND_DIR")


class Caught(Exception):
    """Carries the parser that a command made."""


def parser_of(command, monkeypatch, argv):
    """Return the parser that a command's main would parse with."""

    def catch(self, *_):
        raise Caught(self)

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", catch)
        with pytest.raises(Caught) as caught:
            command(argv)
    return caught.value.args[0]


def parsers(monkeypatch):
    yield "train.py", train_parser()
    for name in ("score", "ask", "matrix", "compare"):
        yield f"evaluate.py {name}", getattr(command_lines, f"{name}_parser")()
    yield "evaluation.curate", curate_parser()
    yield "data.audit", audit_parser()
    yield "data.splits", splits_parser()
    for name, module in (("data.phantoms", phantoms_command), ("report", report_command)):
        yield name, parser_of(module.main.__wrapped__, monkeypatch, [])


def is_path(action):
    return action.metavar in PATH_WORDS or action.dest in (*PATHS, "output_dir")


def test_every_path_flag_of_every_command_expands_it(monkeypatch):
    monkeypatch.setenv("HOME", "/of/somebody")
    seen = {}
    for command, parser in parsers(monkeypatch):
        for action in parser._actions:
            if not is_path(action) or (command, action.dest) == ("evaluate.py matrix", "models"):
                continue
            given = action.type("~/x") if action.type else "~/x"
            assert str(given) == "/of/somebody/x", f"{command}: {action.dest}"
            seen.setdefault(command, []).append(action.dest)
    assert len(seen) == 10
    assert {"config", "resume", "protocol", *PATHS} <= {*seen["train.py"]}
    assert {"model", "json", "image_root", "prompt_template"} <= {*seen["evaluate.py score"]}
    assert {"text_prior", "output_dir"} <= {*seen["evaluate.py score"]}
    assert {*seen["evaluate.py compare"]} == {"first", "second", "output"}
    assert {*seen["evaluate.py ask"]} >= {"model", "image", "prompt_template"}
    assert {*seen["data.audit"]} == {"files", "image_root", "output_dir", "beside"}
    assert {"files", "output_dir", "image_root"} <= {*seen["data.splits"]}


def test_no_other_word_of_a_flag_names_a_path(monkeypatch):
    """A new flag for a file or folder shows here: its metavar is one of PATH_WORDS."""
    for command, parser in parsers(monkeypatch):
        for action in parser._actions:
            words = str(action.metavar).replace("=", " ").split()
            named = {"DIR", "FILE", "FOLDER", "PATH"} & {*words}
            known = is_path(action) or action.dest in ("models", *PATHS)
            assert not named or known, f"{command}: {action.dest}"


def test_the_values_of_a_toml_file_and_of_name_is_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/of/somebody")
    config = tmp_path / "run.toml"
    config.write_text(
        'model = "~/m"\ntrain_json = ["~/a.json", "phantoms"]\nimage_root = "~/i"\n'
        'rewards = ["accuracy", "~/r.py:mine"]\noutput_dir = "~/o"\nprompt_template = "~/p"\n'
    )
    found, _ = read_toml(config)
    assert found["model"] == "/of/somebody/m" and found["output_dir"] == "/of/somebody/o"
    assert found["train_json"] == ("/of/somebody/a.json", "phantoms")
    assert found["rewards"] == ("accuracy", "/of/somebody/r.py:mine")
    assert resolve_config({}, str(config)).image_root == "/of/somebody/i"
    assert named_models(["CT=~/run", "base=tiny"]) == {"CT": "/of/somebody/run", "base": "tiny"}


def test_the_folders_of_a_protocol(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/of/somebody")
    file = tmp_path / "protocol.toml"
    file.write_text(
        'model = "~/m"\noutput_dir = "~/o"\nsteps = 1\n[data]\ntrain_dir = "~/train"\n'
        'test_dir = "~/test"\nimage_root = "~/i"\n[modality]\nslices = ["CT", "MRI"]\n'
    )
    protocol = read_protocol(file)
    home = "/of/somebody"
    assert (protocol.model, protocol.output_dir) == (f"{home}/m", f"{home}/o")
    folders = (protocol.data.train_dir, protocol.data.test_dir, protocol.data.image_root)
    assert folders == (f"{home}/train", f"{home}/test", f"{home}/i")


def test_a_home_that_is_nobodys_is_a_path_that_is_not_there():
    assert expanded("~nobody-of-that-name/x") == "~nobody-of-that-name/x"
    assert user_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    with pytest.raises(ValueError, match="no model directory ~nobody-of-that-name/x"):
        find_checkpoint("~nobody-of-that-name/x")
    with pytest.raises(ValueError, match=r"data file ~nobody-of-that-name/x\.json does not exist"):
        read_examples("~nobody-of-that-name/x.json", ".")
