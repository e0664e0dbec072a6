"""A command that is printed works where it is printed: from a clone, and as installed.

scripts/check_wheel.py does the same with a real wheel in an environment of its own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.protocol.protocol_file import read_protocol
from grpo.settings.toml_file import read_toml, shipped_or_own
from process.called import command_line, install_line, module_line
from tests.places import ROOT

RUN = (
    *("--max-steps", "1", "--eval-limit", "2", "--prompts-per-step", "1", "--group-size", "2"),
    *("--no-eval-blank", "--device", "cpu"),
)
SCRIPT = "#!{python}\nimport sys, groupwise_commands\nsys.exit(groupwise_commands.{name}())\n"


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Our Python first on the PATH, no matplotlib, and the commands of `pip install -e`."""
    programs, lacking = tmp_path / "bin", tmp_path / "lacking" / "matplotlib"
    programs.mkdir()
    for name in ("train", "evaluate"):
        file = programs / f"groupwise-{name}"
        file.write_text(SCRIPT.format(python=sys.executable, name=name))
        file.chmod(0o755)
    lacking.mkdir(parents=True)
    (lacking / "__init__.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(lacking.parent)}


def call(line: list[str] | str, cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    result = subprocess.run(
        line if isinstance(line, list) else ["bash", "-c", line],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("how", ["beside", "from elsewhere", "installed"])
def test_what_a_run_prints_can_be_run(how, tmp_path, environment):
    here, out = (ROOT, tmp_path / "a run") if how == "beside" else (tmp_path, Path("a run"))
    if how == "installed":
        command = ["groupwise-train"]
        environment |= {"PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{ROOT}"}
    else:
        command = ["python", "train.py" if how == "beside" else str(ROOT / "train.py")]
    status, printed = call([*command, *RUN, "--output-dir", str(out)], here, environment)
    assert status == 0, printed
    (following,) = re.findall(r"^next: (.*)$", printed, re.MULTILINE)
    (install, report) = re.findall(r"for them: (.*) && (.*)\)$", printed, re.MULTILINE)[0]
    assert install == "python -m pip install matplotlib"
    assert following.startswith("groupwise-evaluate " if how == "installed" else "python ")
    for line in (f"{following} --limit 2 --output-dir '{tmp_path}/scores'", report):
        status, output = call(line, here, environment)
        assert status == 0, f"{line}\n{output}"
    assert (tmp_path / "scores" / "summary.json").is_file()

    status, error = call([*command, "--no-such-flag"], here, environment)
    (help_line,) = re.findall(r"\(try (.*)\)", error)
    assert (status, call(help_line, here, environment)[0]) == (2, 0)


def test_an_installed_command_that_is_not_on_the_path_is_named_by_its_place(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/far/bin/groupwise-train"])
    assert command_line("evaluate", "a b") == "/far/bin/groupwise-evaluate 'a b'"
    monkeypatch.setattr(sys, "argv", ["../x y/train.py"])
    monkeypatch.setattr(sys, "executable", "/far/bin/python3")
    assert command_line("evaluate", "-h") == "/far/bin/python3 '../x y/evaluate.py' -h"
    assert install_line("matplotlib") == "/far/bin/python3 -m pip install matplotlib"


def test_a_module_of_the_clone_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = module_line("data.phantoms", "--help")
    assert call(line, tmp_path, dict(os.environ))[0] == 0
    monkeypatch.chdir(ROOT)
    assert module_line("data.phantoms", "--help").endswith("-m data.phantoms --help")
    assert "PYTHONPATH" not in module_line("data.phantoms")


@pytest.mark.parametrize("name", ["{}", "{}.toml", "configs/{}.toml"])
def test_a_shipped_file_is_named_where_none_is_called_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_toml(name.format("phantoms"))[0]["model"] == "tiny"
    assert read_protocol(name.format("protocol_smoke")).output_dir == "runs/protocol-smoke"
    own = tmp_path / name.format("phantoms")
    own.parent.mkdir(exist_ok=True)
    own.write_text("seed = 3\n")
    assert read_toml(name.format("phantoms"))[0] == {"seed": 3}
    other = f"else/{name.format('phantoms')}"
    assert shipped_or_own(other) == Path(other)
    preset = name.format("objectives/gspo")
    assert read_toml(preset)[0]["ratio_level"] == "sequence"
    with pytest.raises(ValueError, match=r"no\.toml cannot be read .* one that ships: phantoms"):
        read_toml("no.toml")


def test_readme_names_no_distribution_that_does_not_exist():
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search(r"pip install ['\"]?groupwise", file.read_text(encoding="utf-8")), file
