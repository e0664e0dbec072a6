"""Build the wheel, install it in an environment of its own, and use it as a user would.

    python scripts/check_wheel.py

Works on a copy of the tracked files in a temporary folder, so that the clone stays as it is (`pip
install .` leaves build/ and *.egg-info). torch and the like are not installed again: the new
environment looks them up in the one that runs this script, which has requirements.txt installed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("grpo", "models", "data", "rewards", "evaluation", "process")
MODULES = ("train.py", "evaluate.py", "groupwise_commands.py")
MUST_HOLD = (
    "models/tiny/config.json",
    "models/tiny/model.safetensors",
    "models/tiny/preprocessor_config.json",
    "models/tiny/tokenizer.json",
    "models/tiny/tokenizer_config.json",
    "models/tiny_open/config.json",
    "models/tiny_open/model.safetensors",
    "models/tiny_open/preprocessor_config.json",
    "models/tiny_open/tokenizer.json",
    "models/tiny_open/tokenizer_config.json",
    "configs/phantoms.toml",
    "configs/objectives/gspo.toml",
    "grpo/logprobs/cuda/logprobs.cu",
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="groupwise-wheel-") as name:
        folder = Path(name)
        tracked = copy_tracked_files(folder / "source")
        wheel = build_wheel(folder / "source", folder / "wheels")
        check_contents(wheel, tracked)
        environment = install(wheel, folder / "venv")
        check_imports(environment)
        check_kernels(environment)
        check_commands(environment, folder)
        check_shadowing(environment, folder)


def call(*command: str | Path, status: int = 0, cwd: Path = ROOT) -> str:
    """Run a command without PYTHONPATH; return its output, or end with it on another status."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)
    output = result.stdout + result.stderr
    if result.returncode != status:
        line = " ".join(map(str, command))
        sys.exit(f"{line}\nended with status {result.returncode}, not {status}:\n{output}")
    return output


def demand(truth: bool, message: str) -> None:
    """End the check with the message unless it holds."""
    if not truth:
        sys.exit(f"wheel check: {message}")


def copy_tracked_files(target: Path) -> set[str]:
    """Copy what git tracks, as it stands in the working tree; return the names."""
    listing = call("git", "ls-files", "-z").split("\0")
    names = {name for name in listing if name and (ROOT / name).is_file()}
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return names


def build_wheel(source: Path, target: Path) -> Path:
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", target, source)
    (wheel,) = target.glob("*.whl")
    print(f"built {wheel.name}, {wheel.stat().st_size / 2**20:.1f} MiB")
    return wheel


def check_contents(wheel: Path, tracked: set[str]) -> None:
    """The wheel holds every tracked file of our packages, our modules, and nothing else."""
    folders = tuple(f"{package}/" for package in (*PACKAGES, "configs"))
    wanted = {name for name in tracked if name.startswith(folders)} | set(MODULES)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    held = {name for name in names if ".dist-info/" not in name}
    demand(held >= wanted, f"not in the wheel: {sorted(wanted - held)}, see setup.cfg")
    demand(held <= wanted, f"not wanted in the wheel: {sorted(held - wanted)}, see setup.cfg")
    missing = [name for name in MUST_HOLD if name not in held]
    demand(not missing, f"neither tracked nor in the wheel: {missing}")
    licensed = any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    demand(licensed, "the licence is not in the wheel")
    print(f"it holds the {len(held)} tracked files of our packages and nothing else")


def install(wheel: Path, target: Path) -> Path:
    """Install into a fresh environment that finds the dependencies in this one; return its bin."""
    venv.create(target, with_pip=False)
    binaries = target / ("Scripts" if os.name == "nt" else "bin")
    pip_install(binaries, wheel)
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages(binaries) / "dependencies.pth").write_text("\n".join(sorted(here)) + "\n")
    return binaries


def pip_install(binaries: Path, wheel: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", binaries / "python")
    call(*pip, "install", "--no-deps", "--no-index", wheel)


def site_packages(binaries: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(call(binaries / "python", "-c", code).strip())


def check_kernels(binaries: Path) -> None:
    """The installed package finds its kernels' source, byte for byte the one that is tested."""
    code = (
        "import hashlib; from grpo.logprobs.cuda.compiler import source_code;"
        "print(hashlib.sha256(source_code()).hexdigest())"
    )
    source = (ROOT / "grpo" / "logprobs" / "cuda" / "logprobs.cu").read_bytes()
    found = call(binaries / "python", "-P", "-c", code).strip()
    demand(found == hashlib.sha256(source).hexdigest(), "the kernels' source is another one")
    print("its kernels' source is the one that is tested")


def check_imports(binaries: Path) -> None:
    """Importing our packages does no work, and it is the installed ones that are found."""
    script = ROOT / "scripts" / "check_imports.py"
    forbidden = ("--not", "torch", "transformers")
    print(call(binaries / "python", "-P", script, *PACKAGES, *forbidden).strip())
    code = f"import {', '.join(PACKAGES)}; print(*({', '.join(PACKAGES)},), sep='\\n')"
    for line in call(binaries / "python", "-P", "-c", code).splitlines():
        demand(str(site_packages(binaries)) in line, f"{line} is not the installed package")


def check_commands(binaries: Path, folder: Path) -> None:
    """Both commands answer --help; training runs on what the wheel holds, outside the clone."""
    demand("--group-size" in call(binaries / "groupwise-train", "--help", cwd=folder), "no flags")
    demand("--json" in call(binaries / "groupwise-evaluate", "--help", cwd=folder), "no flags")
    run = folder / "run"
    short = ("--max-steps", "1", "--eval-limit", "8", "--output-dir", run)
    call(binaries / "groupwise-train", *short, cwd=folder)
    demand((run / "checkpoints" / "step-000001").is_dir(), "groupwise-train saved no checkpoint")
    print("groupwise-train and groupwise-evaluate run from it on the embedded default")
    check_printed(binaries, folder)


def check_printed(binaries: Path, folder: Path) -> None:
    """Every command that an installed run prints works where it was printed."""
    shipped = ("--config", "phantoms.toml", "--max-steps", "1", "--eval-limit", "2")
    output = call(binaries / "groupwise-train", *shipped, "--output-dir", "a run", cwd=folder)
    demand("the shipped one" in output, f"not said which configuration was taken:\n{output}")
    printed = re.findall(r"^next: (.*)$", output, re.MULTILINE)
    printed += re.findall(r"&& (.*)\)$", output, re.MULTILINE)  # where matplotlib is missing
    error = call(binaries / "groupwise-train", "--no-such-flag", cwd=folder, status=2)
    printed += re.findall(r"\(try (.*)\)", error)
    demand(len(printed) >= 2, f"no command was printed:\n{output}\n{error}")
    for line in printed:
        limit = " --limit 4" if "--json" in line else ""
        call("bash", "-c", line + limit, cwd=folder)
        print(f"it printed, and this works: {line}")


def check_shadowing(binaries: Path, folder: Path) -> None:
    """With another `evaluate` and `data` installed over it, the commands say so and end."""
    bait = "raise SystemExit('another distribution was imported')\n"
    files = {"evaluate/__init__.py": bait, "data/__init__.py": bait}
    pip_install(binaries, other_wheel(folder, files))
    for command in ("train", "evaluate"):
        output = call(binaries / f"groupwise-{command}", "--help", cwd=folder, status=2)
        for name in files:
            path = site_packages(binaries) / name
            line = next((line for line in output.splitlines() if str(path) in line), "")
            demand("lookalike 1.0" in line, f"{path} is not named as lookalike's:\n{output}")
    print(f"with another evaluate and data installed they end with:\n{output.rstrip()}")


def other_wheel(folder: Path, files: dict[str, str]) -> Path:
    """Write the smallest wheel of a distribution `lookalike` 1.0 with these files."""
    info = "lookalike-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lookalike\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    path = folder / "lookalike-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(name, text)
    return path


if __name__ == "__main__":
    main()
