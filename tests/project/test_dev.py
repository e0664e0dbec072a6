"""scripts/dev.py: which tests are a file's, and what is run over a checkout."""

import pytest

from scripts import dev
from scripts.structure.owners import find_tests
from tests.places import ROOT

FILES = {
    "grpo/__init__.py": "",
    "grpo/loss.py": "",
    "grpo/alone.py": "",
    "grpo/logprobs/__init__.py": "from grpo.logprobs.api import token_logprobs",
    "grpo/logprobs/api.py": "",
    "grpo/logprobs/ops.py": "",
    "scripts/dev.py": "",
    "scripts/other.py": "",
    "train.py": "",
    "tests/cases.py": "from grpo import loss",
    "tests/grpo/test_loss.py": "",
    "tests/grpo/test_step.py": "from grpo.loss import clipped",
    "tests/grpo/logprobs/conftest.py": "import grpo.logprobs.api",
    "tests/grpo/logprobs/test_op.py": "from grpo.logprobs import token_logprobs",
    "tests/project/test_dev.py": "",
    "tests/whole/test_train.py": "",
    "tests/whole/test_all.py": "def test():\n    from tests.cases import one",
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "tests"),
    [
        # its examples, its mirror, who imports it, who does so through a helper
        (
            "grpo/loss.py",
            "grpo/loss.py tests/grpo/test_loss.py tests/grpo/test_step.py tests/whole/test_all.py",
        ),
        # through its package's door, by a name that it gives
        ("grpo/logprobs/api.py", "grpo/logprobs/api.py tests/grpo/logprobs/test_op.py"),
        # nobody imports it: its folder's tests
        ("grpo/logprobs/ops.py", "grpo/logprobs/ops.py tests/grpo/logprobs"),
        ("grpo/logprobs", "grpo/logprobs tests/grpo/logprobs"),
        ("scripts/dev.py", "tests/project/test_dev.py"),
        ("train.py", "tests/whole/test_train.py train.py"),
        ("tests/grpo/test_loss.py", "tests/grpo/test_loss.py"),
    ],
)
def test_the_tests_of_a_file(checkout, given, tests):
    assert find_tests(checkout, given) == tests.split()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("grpo/no.py", "there is no grpo/no.py"),
        ("setup.cfg", "setup.cfg is no Python file"),
        ("/", "/ is no Python file of"),
        ("scripts/other.py", "no test imports scripts/other.py"),
    ],
)
def test_what_has_no_tests_is_said(checkout, given, words):
    with pytest.raises(ValueError, match=words):
        find_tests(checkout, given)


def test_every_file_of_ours_has_tests():
    files = [path for name in ("grpo", "models", "data") for path in (ROOT / name).glob("*.py")]
    for path in [*files, ROOT / "train.py", ROOT / "scripts" / "dev.py"]:
        assert find_tests(ROOT, path.relative_to(ROOT).as_posix())


def test_list_prints_them(capsys):
    assert dev.main(["--list", "scripts/dev.py"]) == 0
    assert capsys.readouterr().out == "tests/project/test_dev.py\n"


def test_a_mistake_is_one_message_and_status_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        dev.main(["grpo/no.py"])
    assert "error: there is no grpo/no.py: name a file by its path" in capsys.readouterr().err


def test_the_whole_checkout_gets_its_unit_tests_and_a_file_all_of_its_own():
    words = dev.commands(fix=False, tests=[], tiers=None)
    assert list(words) == ["format", "lint", "types", "tests"]
    assert words["format"] == ["ruff", "format", "--check", "."]
    assert words["tests"][-2:] == ["-m", "unit"] and "--numprocesses" in words["tests"]
    words = dev.commands(fix=True, tests=["tests/a.py"], tiers=None)
    assert words["format"] == ["ruff", "format", "."] and "--fix" in words["lint"]
    assert words["tests"] == ["pytest", "-q", "--no-header", "tests/a.py"]
    assert dev.commands(False, ["tests/a.py"], "model")["tests"][-3:] == [
        "-m",
        "model",
        "tests/a.py",
    ]


@pytest.mark.command
def test_every_step_is_run_and_one_that_fails_is_named(capsys):
    steps = {"first": ["no_such_tool"], "second": ["compileall", "-h"]}
    assert dev.run(steps) == 1
    assert capsys.readouterr().out.endswith("=== failed: first\n")
    assert dev.run({"second": ["compileall", "-h"]}) == 0
    assert capsys.readouterr().out.endswith("=== all passed\n")
