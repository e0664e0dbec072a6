"""`evaluate.py matrix`: cells that are written once, and what is refused under a cell's name."""

import json
import shutil
from dataclasses import replace

import pytest

import evaluate
from evaluation.asked_rows import load_tests
from evaluation.asking.answerer import Answerer
from evaluation.asking.asked_model import asked_model
from evaluation.asking.progress import TimeLeft
from evaluation.asking.shared_flags import AskingFlags
from evaluation.matrix import Matrix
from evaluation.matrix_json import by_field_json, matrix_json
from evaluation.measures.slices import named_models, named_tests
from evaluation.report.matrix_text import field_matrices, matrix_table
from tests.evaluation.mixed import answered

TESTS = ("phantoms:CT", "phantoms:Lesion Grading")
QUICK = ("--limit", 3, "--max-completion-tokens", 3)


def run(capsys, *flags, models=("CT=tiny", "base=tiny"), output, quick=QUICK):
    arguments = ("matrix", "--models", *models, "--json", *TESTS, *quick, "--output-dir", output)
    status = evaluate.main([str(argument) for argument in (*arguments, *flags)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A 2 x 2 matrix of the embedded model, 3 questions a cell, not to be written to."""
    output = tmp_path_factory.mktemp("matrix") / "m"
    tests = load_tests(named_tests(TESTS), limit=3)
    models = named_models(["CT=tiny", "base=tiny"])
    matrix = Matrix(output, [asked_model(name, models[name], asking()) for name in models], tests)
    matrix.fill(load, batch_size=4)
    matrix.write()
    return output


def asking():
    return AskingFlags(max_completion_tokens=3)


def load(checkpoint):
    from models import load_policy

    return load_policy(checkpoint, device="cpu", dtype=None)


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "m")


def times(output):
    return {
        file.relative_to(output): file.stat().st_mtime_ns
        for file in output.rglob("*.json*")
        if file.name != "matrix.json"
    }


@pytest.mark.command
def test_the_matrix_is_written_and_printed(copied, capsys):
    status, out, err = run(capsys, output=copied)
    assert status == 0
    assert "4 cells, 4 of them done" in err
    stored = json.loads((copied / "matrix.json").read_text())
    places = [cell["path"] for cell in stored["cells"]]
    assert places[:2] == ["cells/CT/CT", "cells/CT/Lesion-Grading"]
    assert [cell["part"] for cell in stored["cells"]] == ["diagonal", "off_diagonal", None, None]
    for cell in stored["cells"]:
        summary = json.loads((copied / cell["path"] / "summary.json").read_text())
        assert {name: summary["overall"][name] for name in ("accuracy", "low", "n", "chance")} == {
            name: cell[name] for name in ("accuracy", "low", "n", "chance")
        }
    assert stored["models"]["base"]["model"] == "tiny"
    assert stored["tests"]["Lesion Grading"] == {"source": "phantoms:Lesion Grading"}
    assert "on the diagonal" in out
    page = (copied / "report.html").read_text()
    assert "on the diagonal" in page and "data:image/png;base64," in page and "://" not in page


@pytest.mark.command
def test_every_cell_has_its_control_beside_it(tmp_path, capsys):
    status, out, _ = run(capsys, "--controls", "blank", output=tmp_path / "m")
    assert status == 0 and "the same under blank" in out
    stored = json.loads((tmp_path / "m" / "matrix.json").read_text())
    blank = stored["controls"]["blank"]
    places = [(cell["model"], cell["test"]) for cell in stored["cells"]]
    assert [(cell["model"], cell["test"]) for cell in blank["cells"]] == places
    for cell, control in zip(stored["cells"], blank["cells"], strict=True):
        lines = (tmp_path / "m" / cell["path"] / "predictions.jsonl").read_text().splitlines()
        right = {None: [], "blank": []}
        for line in map(json.loads, lines):
            right[line["control"]].append(line["correct"])
        assert cell["accuracy"] == sum(right[None]) / 3
        assert control["accuracy"] == sum(right["blank"]) / 3
        gain = control["gain"]
        assert gain["gain"] == pytest.approx(cell["accuracy"] - control["accuracy"])
        assert gain["low"] <= gain["gain"] <= gain["high"]
    status, _, err = run(capsys, output=tmp_path / "m")  # cells with a control are other cells
    assert status == 2 and "another list of controls" in err


@pytest.mark.command
def test_cells_are_asked_about_blurred_and_mirrored_images_and_exported(tmp_path, capsys):
    flags = ("--controls", "blur:2,8", "flip")
    status, out, _ = run(capsys, *flags, output=tmp_path / "m")
    assert status == 0 and "the same under blur:8" in out and "the same under flip" in out
    stored = json.loads((tmp_path / "m" / "matrix.json").read_text())
    assert list(stored["controls"]) == ["blur:2", "blur:8", "flip"]
    cells = {tmp_path / "m" / cell["path"]: cell["accuracy"] for cell in stored["cells"]}
    for cell in cells:
        assert len(json.loads((cell / "summary.json").read_text())["decay"]["points"]) == 3
    assert evaluate.main(["export", *map(str, cells), "--to", "medevalkit"]) == 0
    for cell, accuracy in cells.items():
        correct = [row["correct"] for row in json.loads((cell / "results.json").read_text())]
        assert sum(correct) / len(correct) == pytest.approx(accuracy)
    capsys.readouterr()
    status, _, err = run(capsys, *flags, output=tmp_path / "m")
    assert status == 0 and f"{len(cells)} cells, {len(cells)} of them done" in err


@pytest.mark.command
def test_a_broken_off_matrix_goes_on_and_does_no_cell_twice(tmp_path, capsys, monkeypatch):
    output, asked = tmp_path / "m", []
    answer = Answerer.__call__

    def breaks(answerer, examples, **options):
        asked.append(examples[0].id)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answer(answerer, examples, **options)

    monkeypatch.setattr(Answerer, "__call__", breaks)
    status, _, err = run(capsys, output=output)
    assert status == 130
    assert "what is answered stays, the same command goes on" in err
    assert not (output / "matrix.json").exists()
    before = times(output)
    assert len(before) == 4  # two files in each of two cells
    status, _, err = run(capsys, output=output)
    assert status == 0
    assert "4 cells, 2 of them done" in err
    assert len(asked) == 3 + 2
    assert before.items() <= times(output).items()


@pytest.mark.command
def test_a_cell_that_was_begun_otherwise_stops_the_matrix_at_once(tmp_path, capsys, monkeypatch):
    output = tmp_path / "m"
    other = output / "cells" / "base" / "Lesion-Grading.unfinished"  # of the last cell
    other.mkdir(parents=True)
    (other / "evaluation.json").write_text('{"mode": "no_think"}')
    monkeypatch.setattr(Answerer, "__call__", lambda *_, **__: pytest.fail("a question was asked"))
    status, _, err = run(capsys, output=output)
    assert status == 2
    assert "was begun with another mode ('no_think' there, 'think' now)" in err


@pytest.mark.command
def test_a_removed_cell_is_evaluated_again_and_only_it(copied, capsys, finished):
    shutil.rmtree(copied / "cells" / "base" / "CT")
    before = times(copied)
    status, _, err = run(capsys, output=copied)
    assert status == 0
    assert "[1/1] base on CT" in err
    assert before.items() <= times(copied).items()
    lines = [(one / "cells/base/CT/predictions.jsonl").read_text() for one in (copied, finished)]
    assert lines[0] == lines[1]


@pytest.mark.command
@pytest.mark.parametrize(
    ("quick", "message"),
    [
        (("--limit", 4, *QUICK[2:]), "with another --limit (3 there, 4 now)"),
        ((*QUICK, "--seed", 1), "with another --seed (0 there, 1 now)"),
        ((*QUICK, "--mode", "no_think"), "with another mode ('think' there, 'no_think' now)"),
        ((*QUICK[:3], 5), "with another max_completion_tokens (3 there, 5 now)"),
    ],
)
def test_cells_of_other_settings_are_refused_with_words(finished, capsys, quick, message):
    before = times(finished)
    status, _, err = run(capsys, output=finished, quick=quick)
    assert status == 2
    assert message in err
    assert "remove that folder to evaluate anew, or name another --output-dir" in err
    assert times(finished) == before


@pytest.mark.command
@pytest.mark.parametrize("name", ["model_checksum", "checksums"])
def test_cells_of_other_weights_or_data_are_refused(copied, capsys, name):
    file = copied / "cells" / "CT" / "CT" / "summary.json"
    summary = json.loads(file.read_text())
    evaluation = summary["evaluation"]
    if name == "checksums":
        evaluation = evaluation["data"]
        evaluation[name] = {"phantoms:CT": "0" * 64}
    else:
        evaluation[name] = "0" * 64
    file.write_text(json.dumps(summary))
    status, _, err = run(capsys, output=copied)
    assert status == 2
    assert "was evaluated with another checksum of the" in err


@pytest.mark.command
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", "{", "summary.json cannot be read"),
        ("summary.json", '{"overall": {"accuracy": 1}}', "summary.json cannot be read"),
        ("summary.json", None, "summary.json cannot be read"),
        ("predictions.jsonl", "", "holds 0 right of 0, its summary says"),
        ("predictions.jsonl", '{"id": 1', "predictions.jsonl cannot be read"),
    ],
)
def test_a_damaged_cell_is_refused_with_words(copied, capsys, file, text, message):
    place = copied / "cells" / "base" / "Lesion-Grading" / file
    place.unlink()
    if text is not None:
        place.write_text(text)
    status, _, err = run(capsys, output=copied)
    assert status == 2
    assert message in err
    assert "remove that folder to evaluate anew" in err


def test_each_value_of_a_field_has_a_matrix_whose_parts_are_those_of_the_whole():
    languages = ("en", "de", "en", "en", None, "de", "en", "en")

    def told(answers):
        rows = zip(answers, languages, strict=True)
        return [replace(item, fields={"lang": lang} if lang else {}) for item, lang in rows]

    rows = told(answered())  # right: letter-0, yes-0, text-0, number-0
    cells = [
        (("a", "a"), rows),
        (("a", "b"), rows[:4]),
        (("a", "c"), answered()),  # none of its rows has the field
        (("b", "a"), rows),
        (("b", "b"), rows[:4]),
    ]
    found = by_field_json(iter(cells), ["lang"])["lang"]
    assert list(found) == ["de", "en", "unknown"]
    numbers = {
        value: [(cell["test"], cell["n"], cell["accuracy"]) for cell in part["cells"]]
        for value, part in found.items()
    }
    assert numbers["en"] == [("a", 5, 3 / 5), ("b", 3, 2 / 3)] * 2
    assert numbers["de"] == [("a", 2, 0.0), ("b", 1, 0.0)] * 2
    # its one column is a's; b is still a slice that was trained on
    assert [cell["part"] for cell in found["unknown"]["cells"]] == ["diagonal", "off_diagonal"]
    assert found["unknown"]["means"]["off_diagonal"]["cells"] == 1
    titles = [title for title, _ in field_matrices({"by_field": {"lang": found}})]
    assert titles[0] == "rows whose lang is de"


@pytest.mark.command
def test_a_matrix_that_is_there_is_shown_by_a_field_of_its_rows(tmp_path, capsys):
    for name, languages in (("CT", ("EN", "DE", "EN")), ("MRI", ("EN", "EN"))):
        rows = [
            {"problem": f"Which is {i}? A) x, B) y", "solution": "A", "q_lang": language}
            for i, language in enumerate(languages)
        ]
        (tmp_path / f"{name}_test.json").write_text(json.dumps(rows))
    flags = ["matrix", "--models", "CT=tiny", "MRI=tiny", "--output-dir", str(tmp_path / "m")]
    flags += ["--json", *(str(tmp_path / f"{name}_test.json") for name in ("CT", "MRI"))]
    flags += ["--image-root", str(tmp_path), "--max-completion-tokens", "2"]
    assert evaluate.main(flags) == 0
    before = times(tmp_path / "m")
    capsys.readouterr()
    assert evaluate.main([*flags, "--by", "q_lang"]) == 0
    said = capsys.readouterr()
    assert "4 cells, 4 of them done" in said.err and times(tmp_path / "m") == before
    assert "rows whose q_lang is DE\n" in said.out and "rows whose q_lang is EN\n" in said.out
    stored = json.loads((tmp_path / "m" / "matrix.json").read_text())["by_field"]["q_lang"]
    places = {
        value: [(cell["model"], cell["test"], cell["n"]) for cell in part["cells"]]
        for value, part in stored.items()
    }
    assert places["DE"] == [("CT", "CT", 1), ("MRI", "CT", 1)]
    assert places["EN"] == [(model, test, 2) for model in ("CT", "MRI") for test in ("CT", "MRI")]
    assert "rows whose q_lang is EN" in (tmp_path / "m" / "report.html").read_text()
    assert evaluate.main([*flags, "--by", "lang"]) == 2
    assert "--by lang: no row has a field of this name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("models", "flags", "message"),
    [
        (["CT"], [], "--models CT: write NAME=DIR"),
        (["=tiny"], [], "--models =tiny: write NAME=DIR"),
        (["CT=tiny", "Computed Tomography=tiny"], [], "--models names CT twice"),
        (["CT=gone/for/good"], [], "no model directory gone/for/good"),
        (["CT=tiny"], ["--limit", "0"], "--limit 0 must be at least 1"),
        (["CT=tiny"], ["--json", "phantoms:CT", "a/CT_test.json"], "--json names CT twice"),
        (["CT=tiny"], ["--json", "{tmp}/CT_test.json"], "CT_test.json does not exist"),
        (["CT=tiny"], ["--output-dir", "{tmp}"], "holds files (notes .."),
        (["CT=tiny"], ["--output-dir", "{tmp}/notes"], "notes is a file"),
    ],
)
def test_a_mistake_ends_with_one_message(tmp_path, capsys, models, flags, message):
    (tmp_path / "notes").write_text("mine")
    flags = [flag.replace("{tmp}", str(tmp_path)) for flag in flags]
    status, _, err = run(capsys, *flags, models=models, output=tmp_path / "m")
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "m").exists()


def test_the_table_is_aligned_and_fits_a_terminal():
    names = ("CT", "MRI", "X-Ray", "Ultrasound", "Dermoscopy", "Fundus", "OCT", "Microscopy")
    entry = {"accuracy": 1.0, "n": 17662, "low": 0.5, "high": 1.0, "chance": 0.25}
    table = matrix_table(matrix_json({(a, b): entry for a in names for b in names}))
    rows = table.splitlines()[2:10]
    assert {len(row) for row in table.splitlines()[1:3]} == {len(rows[0])}
    assert len({len(row.rstrip()) for row in rows}) == 1
    assert all(len(line) < 100 for line in table.splitlines())
    assert table.splitlines()[-1].split()[-2:] == ["64", "1,130,368"]
    assert rows[1].split() == ["MRI", "100.0", "[100.0]", *["100.0"] * 7]


def test_the_time_left_is_the_sum_over_kinds(capsys):
    progress = TimeLeft({"cell": 3, "sft": 2})
    assert progress.left() == 0  # nothing is known yet
    progress.done("cell", "a", 2.0)
    assert progress.left() == 2 * 2 + 2 * 2  # an unknown kind costs what the known ones did
    progress.done("sft", "b", 10.0)
    assert progress.left() == 2 * 2 + 1 * 10
    assert capsys.readouterr().err.splitlines() == [
        "[1/5] a: 2 s; about 8 s left",
        "[2/5] b: 10 s; about 14 s left",
    ]
