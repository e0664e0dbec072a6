"""What is installed and said about it agree: setup.cfg, requirements*.txt, README, .ci/run."""

import ast
import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import groupwise_commands
from tests.places import ROOT

SETUP = configparser.ConfigParser(inline_comment_prefixes=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
INSTALLED = ("grpo", "models", "data", "rewards", "evaluation", "process", "configs")
IMPORT_NAMES = {
    "pillow": "PIL",
    "cuda-bindings": "cuda",
}  # where a distribution's module is not called like itself
WITH_TRANSFORMERS = {"huggingface_hub"}  # transformers depends on it and caches through it


def ranges(value: str) -> dict[str, Requirement]:
    """Return the requirements of one setup.cfg value by name."""
    lines = (line.strip() for line in value.splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


def pins(file: str) -> dict[str, str]:
    """Return a requirements file as version by name; every line must be a pin."""
    lines = (ROOT / file).read_text(encoding="utf-8").split()
    return dict(line.split("==") for line in lines)


def tracked_files() -> list[Path]:
    """Return the repository's files, or skip where there is no repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git clone: the list of tracked files is not known")
    names = [name for name in listing.stdout.split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def imported_packages(tree: ast.AST) -> set[str]:
    """Return the top-level names of the absolute imports below a node."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("file", "section", "key"),
    [
        ("requirements.txt", "options", "install_requires"),
        ("requirements-dev.txt", "options.extras_require", "dev"),
    ],
)
def test_every_range_has_a_pin_inside_it(file, section, key):
    wanted, pinned = ranges(SETUP[section][key]), pins(file)
    assert wanted.keys() == pinned.keys()
    for name, requirement in wanted.items():
        assert requirement.specifier.contains(pinned[name]), f"{requirement} excludes its pin"


def test_every_extra_is_imported_somewhere():
    files = [path for package in INSTALLED for path in (ROOT / package).rglob("*.py")]
    imported = set().union(
        *(imported_packages(ast.parse(path.read_text("utf-8"))) for path in files)
    )
    for name, value in SETUP["options.extras_require"].items():
        if name != "dev":  # the tests' own
            assert ranges(value).keys() <= imported, f"nothing uses the extra [{name}]"


def test_every_import_is_declared():
    # at the top of a file only the core may stand; extras are imported where they are used
    core = {IMPORT_NAMES.get(name, name) for name in ranges(SETUP["options"]["install_requires"])}
    extras = {
        IMPORT_NAMES.get(name, name)
        for value in SETUP["options.extras_require"].values()
        for name in ranges(value)
    }
    known = sys.stdlib_module_names | core | WITH_TRANSFORMERS | set(groupwise_commands.OUR_FILES)
    files = [path for package in INSTALLED for path in sorted((ROOT / package).rglob("*.py"))]
    for path in [*files, ROOT / "train.py", ROOT / "evaluate.py", ROOT / "groupwise_commands.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        undeclared = imported_packages(tree) - known - extras
        assert not undeclared, f"{path.relative_to(ROOT)} imports {sorted(undeclared)}"
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        eager = imported_packages(ast.Module(top, [])) & extras
        assert not eager, f"{path.relative_to(ROOT)} imports {sorted(eager)} at its top"


def test_every_folder_with_code_is_a_package():
    # a folder without __init__.py works in a clone and is missing from the wheel
    for package in INSTALLED:
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path.parent} has no __init__.py"


def test_the_commands_are_functions_that_exist():
    scripts = SETUP["options.entry_points"]["console_scripts"].split("\n")
    targets = dict(line.split(" = ") for line in scripts if line)
    assert set(targets) == {"groupwise-train", "groupwise-evaluate"}
    for target in targets.values():
        module, function = target.split(":")
        assert module == "groupwise_commands" and callable(getattr(groupwise_commands, function))


def readme_commands() -> list[str]:
    """Return the set-up commands of README, those lines that begin by installing requirements."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^ *(python -m pip install -r requirements\.txt.*)$", text, re.MULTILINE)


def test_readme_sets_up_with_two_commands():
    main_job, tests = sorted(readme_commands(), key=len)
    assert main_job == "python -m pip install -r requirements.txt && python train.py"
    assert tests == (
        "python -m pip install -r requirements.txt -r requirements-dev.txt && python -m pytest"
    )


def test_who_keeps_another_torch_installs_all_others():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [line] = re.findall(r'^python -m pip install ("transformers.*)$', text, re.MULTILINE)
    named = {str(Requirement(word)) for word in shlex.split(line)}
    wanted = ranges(SETUP["options"]["install_requires"])
    del wanted["torch"]
    bounded = {str(item) for item in wanted.values() if "<" in str(item.specifier)}
    assert named == bounded | {item.name for item in wanted.values()} - {"transformers"}


def test_ci_runs_the_test_command_of_readme_to_the_letter():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    *_, tests = sorted(readme_commands(), key=len)
    assert f"'{tests}'\n" in script


# Each pattern does not match its own text.
FOREIGN = {
    "a path of some machine": r"(?<![\w.*$}])/(?:work|root|home|opt|mnt|srv|Users)/\w",
    "a host of a package registry": r"pypi\.org|pythonhosted\.org|pytorch\.org/whl|npmjs\.",
    "a choice of package index": r"^--?(?:find-links|index-url|extra-index-url|f|i)\b",
}


@pytest.mark.command
@pytest.mark.parametrize("what", FOREIGN)
def test_no_tracked_file_names(what):
    pattern = re.compile(FOREIGN[what], re.MULTILINE)
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        found = pattern.search(text)
        assert not found, f"{path.relative_to(ROOT)} names {what}: {found[0]!r}"


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of some machine", "see /" + "home/someone/x"),
        ("a path of some machine", "'/" + "work/main'"),
        ("a host of a package registry", "https://py" + "pi.org/simple"),
        ("a choice of package index", "torch\n--" + "find-links wheels"),
    ],
)
def test_the_patterns_find_what_they_are_for(what, text):
    assert re.search(FOREIGN[what], text, re.MULTILINE)
