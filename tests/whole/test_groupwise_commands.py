"""The installed commands run our modules or say which other ones stand in their place.

A folder of stand-ins plays the part of site-packages; scripts/check_wheel.py does the same with a
real wheel in a real environment.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import groupwise_commands
from tests.places import ROOT

PACKAGES = ("grpo", "models", "data", "rewards", "evaluation", "process", "configs")


def record(site: Path, name: str, files: list[str], with_hash: bool = True) -> None:
    """Write the .dist-info folder that pip leaves for a distribution of these files."""
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = []
    for file in files:
        digest = hashlib.sha256((site / file).read_bytes()).digest()
        value = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        lines.append(f"{file},sha256={value}," if with_hash else f"{file},,")
    (info / "RECORD").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder with our modules' names, recorded as the distribution groupwise."""
    site = tmp_path / "site-packages"
    site.mkdir()
    shutil.copy(ROOT / "groupwise_commands.py", site)
    for module in ("train", "evaluate"):
        (site / f"{module}.py").write_text(
            f"def main():\n    print('our {module}')\n    return 7\n"
        )
    for package in PACKAGES:
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("")
    files = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.py"))]
    record(site, "groupwise", files)
    return site


def run_command(site: Path, *before: Path, command: str = "train") -> subprocess.CompletedProcess:
    """Call one command as its console script does, with folders in front of the site."""
    code = f"import sys, groupwise_commands; sys.exit(groupwise_commands.{command}())"
    path = os.pathsep.join(str(folder) for folder in (*before, site))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=site.parent,
        capture_output=True,
        text=True,
    )


def complaint(result: subprocess.CompletedProcess) -> str:
    """Return the message of a command that refused, with nothing of anyone's imported."""
    assert (result.returncode, result.stdout) == (2, "")
    assert "virtual environment of its own" in result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_our_main_runs_and_its_exit_status_is_kept(site, command):
    result = run_command(site, command=command)
    assert (result.returncode, result.stdout) == (7, f"our {command}\n"), result.stderr


@pytest.mark.parametrize("name", ["evaluate", "train", *PACKAGES])
def test_a_module_found_before_ours_is_named(site, tmp_path, name):
    other = tmp_path / "other"
    other.mkdir()
    (other / f"{name}.py").write_text("raise SystemExit('this was imported')\n")
    message = complaint(run_command(site, other))
    assert f"{name} is {other / f'{name}.py'}\n" in message


def test_a_package_in_the_same_folder_comes_before_our_module(site):
    # Python prefers evaluate/ to evaluate.py: so it is with Hugging Face's evaluate installed
    (site / "evaluate").mkdir()
    (site / "evaluate" / "__init__.py").write_text("raise SystemExit('this was imported')\n")
    record(site, "evaluate", ["evaluate/__init__.py"])
    message = complaint(run_command(site))
    assert f"evaluate is {site / 'evaluate' / '__init__.py'}, of the distribution evaluate 1.2" in (
        message
    )


def test_a_file_of_ours_that_another_distribution_replaced_is_named(site):
    (site / "data" / "__init__.py").write_text("THEIRS = True\n")
    record(site, "datastore", ["data/__init__.py"])
    message = complaint(run_command(site))
    path = site / "data" / "__init__.py"
    assert f"{path} was written over, of the distribution datastore 1.2" in message


def test_a_file_of_ours_that_is_gone_is_named(site):
    # the other distribution of the case above was uninstalled, and our file with it
    (site / "data" / "__init__.py").unlink()
    message = complaint(run_command(site))
    assert f"{site / 'data' / '__init__.py'} is gone: install groupwise again" in message


def test_a_missing_module_is_named(site):
    (site / "train.py").unlink()
    assert "train is missing" in complaint(run_command(site))


def test_a_file_that_was_edited_by_hand_is_left_alone(site):
    (site / "data" / "__init__.py").write_text("MINE = True\n")
    assert run_command(site).returncode == 7


def test_a_clone_installed_with_e_passes(site):
    # then site-packages holds no files of ours, only where to find the clone
    shutil.rmtree(site / "groupwise-1.2.dist-info")
    assert run_command(site).returncode == 7


def test_every_name_that_is_installed_is_looked_at():
    names = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"train"}
    names = names - {"tests"} | {"evaluate"}
    assert set(groupwise_commands.OUR_FILES) == names
