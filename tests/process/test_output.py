"""What is printed never ends a command: unknown characters, readers that left, closed streams."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from tqdm import tqdm

from grpo.run.directory import RunDirectory
from process.output import forgiving_output
from process.shown import shown
from tests.places import ROOT

PRODUCT = ("grpo", "models", "data", "rewards", "evaluation", "process", "configs")
TEXT = "图像: µ ≥ 5 \ud800 \x1b[2J \x9b \u202e"

SCRIPT = """
import sys
from pathlib import Path
from tqdm import tqdm
from process.command import command

@command
def main(argv=None):
    for number in tqdm(range(2000)):
        print("line", number, "of many \\u56fe \\u2265 \\ud800")
    tqdm.write("above the bar \\u56fe")
    print("to stderr \\u56fe", file=sys.stderr, flush=True)
    Path("finished").write_text("yes", encoding="utf-8")
    return 0

sys.exit(main())
"""


def run(folder: Path, shell: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the script under a shell's redirections; its exit status is the last line of stdout."""
    return subprocess.run(
        ["bash", "-c", shell],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "SCRIPT": SCRIPT}
        | environment,
        capture_output=True,
    )


@pytest.mark.command
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},  # a lone surrogate
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_character_that_cannot_be_printed_is_printed_as_its_escape(tmp_path, environment):
    done = run(tmp_path, '"$PYTHON" -c "$SCRIPT"', **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "finished").is_file() and b"\\ud800" in done.stdout
    assert b"Traceback" not in done.stderr


@pytest.mark.command
@pytest.mark.parametrize(
    "redirection",
    [
        '"$PYTHON" -c "$SCRIPT" | head -n 1',
        '"$PYTHON" -c "$SCRIPT" 2>&1 | head -n 1',
        '"$PYTHON" -c "$SCRIPT" >&-',
        '"$PYTHON" -c "$SCRIPT" >&- 2>&-',
        '"$PYTHON" -c "$SCRIPT" 2>&-',
        '"$PYTHON" -c "$SCRIPT" > /dev/full',
        '"$PYTHON" -c "$SCRIPT" > /dev/full 2>&1',
    ],
)
def test_nobody_who_reads_is_no_error(tmp_path, redirection):
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = run(tmp_path, f"set -o pipefail; {redirection}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "finished").is_file()
    for word in (b"Traceback", b"BrokenPipe", b"Exception ignored"):
        assert word not in done.stderr


@pytest.mark.command
def test_help_may_be_read_in_part(tmp_path):
    command = f'"$PYTHON" {ROOT / "evaluate.py"} --help'
    done = run(tmp_path, f"set -o pipefail; {command} | head -n 1")
    assert done.returncode == 0 and done.stderr == b""


def test_the_streams_are_as_before_when_a_command_is_over(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with forgiving_output():
        print(TEXT)
        assert sys.stdout is not stream and sys.stdout.encoding == "ascii"
    assert sys.stdout is stream
    assert stream.buffer.getvalue() == shown(TEXT).encode("ascii", "backslashreplace") + b"\n"


class Stubborn(io.StringIO):
    """A stream that is no TextIOWrapper and knows ASCII alone, as some terminals' stand-ins."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def test_a_stream_that_cannot_be_set_gets_escapes_too(monkeypatch):
    stream = Stubborn()
    monkeypatch.setattr(sys, "stdout", stream)
    with forgiving_output():
        print("µ")
    assert stream.getvalue() == "\\xb5\n"


HOSTILE = """
import sys, warnings
from process.bars import bar
from process.command import command
from process.flag_parser import FlagParser
from tqdm import tqdm

ESC = "\\x1b[2J\\x1b]0;taken\\x07\\x9b31m\\u202e\\r"

@command
def main(argv=None):
    if sys.argv[1:]:
        FlagParser(prog="it").parse_args()
    print(ESC)
    print(ESC, file=sys.stderr)
    tqdm.write(ESC)
    warnings.warn(ESC)
    sys.stdout.writelines([ESC])
    with bar(total=2, desc=ESC) as progress:
        progress.update()
        tqdm.write(ESC, file=sys.stderr)
        progress.update()
    raise RuntimeError(ESC)

sys.exit(main())
"""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.mark.command
def test_what_others_wrote_is_printed_as_escapes_a_traceback_too(tmp_path):
    done = run(tmp_path, '"$PYTHON" -W always -c "$SCRIPT"', SCRIPT=HOSTILE)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1 and not OBEYED.search(out + err), (out, err)
    shown = r"\x1b[2J\x1b]0;taken\x07\x9b31m\u202e\r"
    assert out.count(shown) == 3 and f"UserWarning: {shown}" in err
    assert f"RuntimeError: {shown}" in err and f"{shown}: 2 of 2" in err


@pytest.mark.command
def test_a_flag_that_is_wrong_is_named_with_escapes(tmp_path):
    done = run(tmp_path, '"$PYTHON" -c "$SCRIPT" "--x\x1b[2J\u202e"', SCRIPT=HOSTILE)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: unrecognized arguments: --x\\x1b[2J\\u202e (try it --help)\n"
    )


def test_a_bar_moves_about_and_its_stream_is_the_one_that_is_written_above_it():
    terminal = io.StringIO()
    with redirect_stderr(terminal), forgiving_output():
        sys.stderr.drawing.write("\r\x1b[Astep\x1b[2J\n")
        assert sys.stderr == sys.stderr.drawing != sys.stdout
        assert len({sys.stderr, sys.stderr.drawing}) == 1
        bar = tqdm(total=2, file=sys.stderr.drawing, desc="work")
        tqdm.write("above", file=sys.stderr)
        bar.close()
    assert terminal.getvalue().startswith("\r\x1b[Astep\\x1b[2J\n\rwork:")
    assert re.search(r"\r *\rabove\n\rwork:", terminal.getvalue())


def test_files_hold_any_text_and_give_it_back(tmp_path):
    run_directory = RunDirectory(tmp_path)
    run_directory.append_step({"step": 1}, [{"step": 1, "completion": TEXT}])
    run_directory.write({"prompt": TEXT})
    line = (tmp_path / "rollouts.jsonl").read_text(encoding="utf-8")
    assert json.loads(line)["completion"] == TEXT and "图像" in line
    assert run_directory.read() == {"prompt": TEXT}


def product_files() -> list[Path]:
    files = [path for package in PRODUCT for path in (ROOT / package).rglob("*.py")]
    return sorted([*files, *(ROOT / f"{name}.py" for name in ("train", "evaluate"))])


def opens_text_unnamed(call: ast.Call) -> bool:
    """Whether a call opens a text file without its encoding, which would be the machine's."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name not in ("open", "read_text", "write_text") or owner in ("Image", "RunDirectory", "os"):
        return False
    given = [*call.args, *(item.value for item in call.keywords)]
    if any("b" in str(getattr(item, "value", "")) for item in given if name == "open"):
        return False
    if name in ("read_text", "write_text") and isinstance(call.func, ast.Name):
        return False  # process/regular.py's and process/storage.py's, which name it
    return all(item.arg != "encoding" for item in call.keywords)


def test_every_text_file_is_opened_with_its_encoding_named():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text_unnamed(node)
    ]
    assert not found, f"without encoding=: {found}"


def test_every_command_is_a_command():
    """Each file that can be run decorates its main, so that all of this holds for it."""
    runnable = [
        path
        for path in product_files()
        if any(
            isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    ]
    assert len(runnable) >= 7
    for path in runnable:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        (main,) = (node for node in tree.body if getattr(node, "name", "") == "main")
        names = [getattr(item, "id", "") for item in main.decorator_list]
        assert {"command", "shared_command"} & set(names), path
