"""evaluate.py, its matrix and the protocol, broken off inside an evaluation and started again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import evaluate
import train
from data.prompts import TEMPLATES
from evaluation.asking.answerer import Answerer
from evaluation.protocol.run_protocol import Training, protocol_command
from models.devices import choose_device, default_dtype
from tests.whole.gpu_defaults import ASKED_FOR

QUICK = ("--limit", "5", "--batch-size", "2", "--max-completion-tokens", "4")
PASSES = ("--controls", "blank", "--permute-options", "2")  # 3 passes of 5 questions, 3 batches


class Interrupt:
    """Presses Ctrl-C instead of answering a batch, counted from 0; later ones are answered."""

    def __init__(self, monkeypatch, at):
        self.count, self.at, self.answer = 0, at, Answerer.__call__
        monkeypatch.setattr(Answerer, "__call__", lambda *args, **options: self(*args, **options))

    def __call__(self, *args, **options):
        self.count += 1
        if self.count == self.at + 1:
            raise KeyboardInterrupt
        return self.answer(*args, **options)


ROWS = 5


@pytest.fixture
def own_rows(tmp_path) -> list[str]:
    """Flags of an evaluation of five rows with image files, and the folder that holds them."""
    rows = []
    for i in range(ROWS):
        Image.new("RGB", (60, 60), (40 * i, 90, 10)).save(tmp_path / f"{i}.png")
        problem = f"What is seen in image {i}? A)CT, B)MRI"
        rows.append({"image": f"{i}.png", "problem": problem, "solution": "<answer> A </answer>"})
    (tmp_path / "CT_test.json").write_text(json.dumps(rows))
    flags = ["--model", "tiny", "--json", str(tmp_path / "CT_test.json"), "--image-root"]
    return [*flags, str(tmp_path), "--batch-size", "2", "--max-completion-tokens", "4"]


@pytest.mark.parametrize("skips", [False, True])
def test_an_image_that_vanished_costs_its_row_also_when_an_evaluation_goes_on(
    tmp_path, own_rows, monkeypatch, capsys, skips
):
    output = tmp_path / "out"
    flags = [*own_rows, "--controls", "blank"]
    if skips:
        (tmp_path / "4.png").write_text("no image")
        flags += ["--skip-bad-rows"]
    interrupt = Interrupt(monkeypatch, at=1)
    assert run(*flags, output=output) == 130
    monkeypatch.undo()
    assert interrupt.count > 1
    (tmp_path / "3.png").unlink()  # of a row that is not asked yet
    capsys.readouterr()
    assert run(*flags, output=output) == 0
    printed = capsys.readouterr()
    assert "1 rows went bad since the run began, the first: " in printed.err
    assert "not answered, counted as wrong: example CT_test-3: image " in printed.err
    assert "1 rows could not be asked and count as wrong" in printed.out
    summary = json.loads((output / "summary.json").read_text())
    assert summary["overall"]["n"] == ROWS - skips and summary["overall"]["unanswered"] == 1
    assert summary["evaluation"]["data"]["skipped_rows"] == int(skips)
    lines = (output / "predictions.jsonl").read_text().splitlines()
    lost = [row for row in map(json.loads, lines) if row["unanswered"]]
    assert [(row["id"], row["control"]) for row in lost] == [
        ("CT_test-3", None),
        ("CT_test-3", "blank"),
    ]


def test_a_fresh_evaluation_names_the_bad_rows_and_leaves_nothing(tmp_path, own_rows, capsys):
    for name in ("1.png", "3.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:60])
    output = tmp_path / "out"
    assert run(*own_rows, output=output) == 2
    message = capsys.readouterr().err
    assert "2 of 5 rows of" in message and "CT_test.json, row 3: image " in message
    assert not output.exists() and not output.with_name("out.unfinished").exists()
    matrix = ["matrix", "--models", "CT=tiny", *own_rows[2:]]
    assert run(*matrix, output=output) == 2
    assert "2 of 5 rows of" in capsys.readouterr().err
    assert run(*matrix, "--skip-bad-rows", output=output) == 0
    assert "2 bad rows skipped" in capsys.readouterr().out
    cell = json.loads((output / "cells" / "CT" / "CT" / "summary.json").read_text())
    assert cell["overall"]["n"] == 3


def run(*flags, output):
    return evaluate.main([*flags, "--output-dir", str(output)])


def files(folder):
    """The numbers: report.html is made from them and names its folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "report.html" and file.suffix != ".png"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of an evaluation with all passes that was not interrupted."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert run(*QUICK, *PASSES, output=output) == 0
    return files(output)


@pytest.mark.parametrize("at", [1, 3, 7])  # in the plain pass, between two, in the last
def test_the_same_command_goes_on_and_writes_the_same_bytes(
    tmp_path, whole, monkeypatch, capsys, at
):
    output, interrupt = tmp_path / "out", Interrupt(monkeypatch, at)
    assert run(*QUICK, *PASSES, output=output) == 130
    num_answered = (0, 2, 4, 5, 7, 9, 10, 12)[at]
    said = f"{num_answered} of 15 answers are kept in {output}.unfinished: the same command with"
    assert f"{said} --output-dir {output} goes on" in capsys.readouterr().err
    assert not output.exists()
    with (tmp_path / "out.unfinished" / "predictions.jsonl").open("ab") as stream:
        stream.write(b'{"id": "cut')
    assert run(*QUICK, *PASSES, output=output) == 0
    assert f"{num_answered} of 15 are answered" in capsys.readouterr().out
    assert interrupt.count == 9 + 1
    assert files(output) == whole
    assert list(tmp_path.iterdir()) == [output]


def test_blurred_and_mirrored_images_are_gone_on_with_however_their_radii_are_written(
    tmp_path, monkeypatch, capsys
):
    flags = (*QUICK, "--controls", "blur:4,16", "flip")
    assert run(*flags, output=tmp_path / "whole") == 0
    Interrupt(monkeypatch, 7)  # in the second radius
    output = tmp_path / "out"
    assert run(*flags, output=output) == 130
    assert run(*QUICK, "--controls", "blur:16,4", "flip", output=output) == 2
    assert (
        "another list of controls (['blur:4', 'blur:16', 'flip'] there" in capsys.readouterr().err
    )
    assert run(*QUICK, "--controls", "blur:4", "blur:16.0", "flip", output=output) == 0
    assert "12 of 20 are answered" in capsys.readouterr().out
    assert files(output) == files(tmp_path / "whole")
    summary = json.loads((output / "summary.json").read_text())
    assert list(summary["controls"]) == ["blur:4", "blur:16", "flip"]
    assert [point["radius"] for point in summary["decay"]["points"]] == [0, 4, 16]


@pytest.fixture
def mixed_rows(tmp_path) -> list[str]:
    """Flags of an evaluation of rows of every form: text alone, one image and two among them."""
    for i in range(4):
        Image.new("RGB", (60, 60), (60 * i, 90, 10)).save(tmp_path / f"{i}.png")
    rows = [
        {"image": "0.png", "problem": "Which is it? A)CT, B)MRI", "solution": "A"},
        {"image": ["1.png", "2.png"], "problem": "Which is left? A)one, B)two", "solution": "B"},
        {"image": ["3.png", "0.png"], "problem": "Which is dark? A)one, B)two", "solution": "A"},
        {"image": "2.png", "question": "Is it dark?", "answer": "yes", "answer_type": "CLOSED"},
        {"image": "3.png", "question": "What is it?", "answer": "disc", "answer_type": "OPEN"},
        {"image": "1.png", "question": "What is seen?", "answer": ["disc", "line"]},
        {"image": "1.png", "question": "How many are seen?", "answer": "3"},
        {"problem": "Which makes bile? A)liver, B)lung", "solution": "A"},
    ]
    (tmp_path / "mixed.json").write_text(json.dumps(rows))
    flags = ["--model", "tiny_open", "--json", str(tmp_path / "mixed.json"), "--image-root"]
    flags += [str(tmp_path), "--mode", "no_think", "--batch-size", "3", "--permute-options", "2"]
    return [*flags, "--controls", "blank", "shuffled", "flip", "--max-completion-tokens", "4"]


def test_rows_of_every_form_are_gone_on_with_to_the_same_bytes(tmp_path, mixed_rows, monkeypatch):
    to = ("--by", "answer_type", "--export", "medevalkit", "vlmevalkit", "lmms-eval")
    assert run(*mixed_rows, *to, output=tmp_path / "whole") == 0
    Interrupt(monkeypatch, 4)  # among the answers about blank images
    assert run(*mixed_rows, *to, output=tmp_path / "out") == 130
    assert run(*mixed_rows, *to, output=tmp_path / "out") == 0
    found = files(tmp_path / "out")
    assert found == files(tmp_path / "whole") and len(found) == 5
    summary = json.loads(found["summary.json"])
    forms = {name: entry["n"] for name, entry in summary["by_form"].items()}
    assert forms == {"letter": 4, "yes_no": 1, "text": 1, "labels": 1, "number": 1}
    assert summary["by_field"]["answer_type"]["unknown"]["n"] == 6
    for name in ("blank", "shuffled", "flip"):
        assert summary["controls"][name]["overall"]["n"] == 7  # the row of words alone has none
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("closed and open questions", "labels", "about left and right", "answer type"):
        assert words in page


def test_an_evaluation_that_goes_on_is_exported_as_a_whole_one(tmp_path, monkeypatch):
    to = ("medevalkit", "vlmevalkit", "lmms-eval")
    assert run(*QUICK, *PASSES, "--export", *to, output=tmp_path / "whole") == 0
    Interrupt(monkeypatch, 5)
    output = tmp_path / "out"
    assert run(*QUICK, *PASSES, output=output) == 130  # an export may be thought of later
    assert run(*QUICK, *PASSES, "--export", *to, output=output) == 0
    assert files(output) == files(tmp_path / "whole")
    names = {"results.json", "tiny_phantoms.tsv", "tiny_samples_phantoms.jsonl"}
    assert names < set(files(output))
    assert len(json.loads((output / "results.json").read_text())) == 5  # of 15 answers
    before = files(output)
    assert evaluate.main(["export", str(output), "--to", *to]) == 0
    assert files(output) == before


@pytest.mark.skipif(ASKED_FOR, reason="a process of its own has this machine's own defaults")
def test_a_killed_command_goes_on_and_writes_the_same_bytes(tmp_path, whole, capsys):
    output = tmp_path / "out"
    program = f"""
import os, sys, evaluate
from evaluation.asking.answerer import Answerer
answer, asked = Answerer.__call__, []
def dies(answerer, examples, **options):
    asked.append(1)
    if len(asked) == 5:
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    return answer(answerer, examples, **options)
Answerer.__call__ = dies
evaluate.main(sys.argv[1:])
"""
    command = [sys.executable, "-c", program, *QUICK, *PASSES, "--output-dir", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(Path(evaluate.__file__).parent)}
    killed = subprocess.run(command, check=False, capture_output=True, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert run(*QUICK, *PASSES, output=output) == 0
    assert "7 of 15 are answered" in capsys.readouterr().out
    assert files(output)["predictions.jsonl"] == whole["predictions.jsonl"]


def test_another_command_does_not_go_on(tmp_path, monkeypatch, capsys):
    Interrupt(monkeypatch, 1)
    output = tmp_path / "out"
    assert run(*QUICK, output=output) == 130
    template = tmp_path / "template.txt"
    template.write_text(TEMPLATES["think"] + " Be brief.")
    before = files(tmp_path)
    dtypes = ["float32", "bfloat16"]
    usual = str(default_dtype(choose_device("auto"))).removeprefix("torch.")  # a GPU's is another
    (other,) = (name for name in dtypes if name != usual)
    for flags, message in {
        (*QUICK, "--seed", "1"): "another --seed (0 there, 1 now)",
        (*QUICK, "--dtype", other): f"another --dtype ({usual!r} there, {other!r} now)",
        (*QUICK, *PASSES[:2]): "another list of controls ([] there, ['blank'] now)",
        (*QUICK, *PASSES[2:]): "another --permute-options (None there, 2 now)",
        (*QUICK, "--prompt-template", str(template)): "another prompt template (",
        (*QUICK, "--model", "tiny", "--json", "phantoms:CT"): "another checksum of the test file",
    }.items():
        assert run(*flags, output=output) == 2
        assert f"out.unfinished was begun with {message}" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_finished_evaluation_is_refused_as_before(tmp_path, capsys):
    assert run(*QUICK, output=tmp_path / "out") == 0
    assert run(*QUICK, output=tmp_path / "out") == 2
    assert "holds another evaluation: name another --output-dir" in capsys.readouterr().err


def test_a_matrix_goes_on_within_a_cell(tmp_path, monkeypatch, capsys):
    flags = ("matrix", "--models", "base=tiny", "--json", "phantoms:CT", "phantoms:MRI", *QUICK)
    assert run(*flags, output=tmp_path / "whole") == 0
    interrupt = Interrupt(monkeypatch, 4)  # the second of three batches of the second cell
    assert run(*flags, output=tmp_path / "m") == 130
    assert "what is answered stays, the same command goes on" in capsys.readouterr().err
    assert run(*flags, "--seed", "1", output=tmp_path / "m") == 2  # before the first cell's model
    assert run(*flags, output=tmp_path / "m") == 0
    assert interrupt.count == 6 + 1
    assert files(tmp_path / "m") == files(tmp_path / "whole")


PROTOCOL = """
model = "tiny"
output_dir = "{}"
methods = ["sft"]
zero_shot = ["think"]
steps = 1
test_limit = 3
batch_size = 1
[data]
phantoms = true
[modality]
slices = ["CT"]
[settings]
image_size = 84
max_completion_tokens = 4
prompts_per_step = 2
"""


TRAINING = Training(train.run, train.resume)


def test_a_protocol_goes_on_within_a_cell(tmp_path, monkeypatch, capsys):
    for name in ("p", "whole"):
        (tmp_path / f"{name}.toml").write_text(PROTOCOL.format(tmp_path / name))
    assert protocol_command(str(tmp_path / "whole.toml"), {}, TRAINING) == 0
    capsys.readouterr()
    whole = files(tmp_path / "whole")
    answers = {name: whole[name] for name in whole if name.endswith("predictions.jsonl")}
    batches = sum(text.count(b"\n") for text in answers.values())
    for at in (1, batches - 2):  # in the middle of the first cell, before the last answer of all
        Interrupt(monkeypatch, at)
        assert protocol_command(str(tmp_path / "p.toml"), {}, TRAINING) == 130
        assert "the same command goes on with the rest" in capsys.readouterr().err
        monkeypatch.undo()
    interrupt = Interrupt(monkeypatch, -1)
    assert protocol_command(str(tmp_path / "p.toml"), {}, TRAINING) == 0
    assert interrupt.count == 1
    ours = files(tmp_path / "p")
    assert len(answers) == 2 and {name: ours[name] for name in answers} == answers
    assert not any("unfinished" in name for name in ours)
