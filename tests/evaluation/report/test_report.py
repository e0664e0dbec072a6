"""report.html: what is on the page, that it fetches nothing, and what broken files lead to."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evaluation.answers.finished import write_evaluation
from evaluation.answers.prediction import Prediction
from evaluation.matrix_json import control_json, matrix_json
from evaluation.measures.decay import summarize_decay
from evaluation.measures.gains import summarize_control
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.sides import summarize_sides
from evaluation.measures.summary import summarize
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.report import rollout_groups
from evaluation.report.__main__ import main
from evaluation.report.album import Album
from evaluation.report.figures.confidence import risk_coverage_curve
from evaluation.report.figures.shared import to_png
from evaluation.report.matrix_page import gain_bound
from evaluation.report.protocol_page import protocol_sections
from evaluation.report.run_files import RunFiles
from evaluation.report.write import report_finished, write_report
from process.tables.document import aligned, document

EVIL = "<script>alert('x')</script></td></pre>\n\"&amp; and *more*"


class Page(HTMLParser):
    """A page as a browser takes it: its text, its tags, what it would fetch."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.images, self.links, self._open = "", [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == [], "tags are not closed"

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [found[name] for name in ("src", "href", "srcset", "data") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def checked(report):
    """Return a written page after what holds for all of them."""
    html = report.path.read_text(encoding="utf-8")
    page = Page(html)
    assert all(link.startswith("data:image/") for link in page.links)
    assert not re.search(r"https?:|url\(|@import", html)
    assert "script" not in page.tags and "link" not in page.tags
    assert all(image["alt"] for image in page.images)
    assert "prefers-color-scheme: dark" in html
    return page


def prediction(number, **changes):
    right = number % 2 == 0
    fields = {
        "id": f"row-{number}",
        "images": (f"image-{number}.png",),
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "dataset": "made up",
        "question": "What is seen?",
        "options": ("a cyst", "a stone"),
        "permutation": (0, 1),
        "answer": "A",
        "completion": f"<answer>{'A' if right else 'B'}</answer>",
        "choice": "A" if right else "B",
        "lenient_choice": "A" if right else "B",
        "well_formed": True,
        "correct": right,
        "lenient_correct": right,
        "completion_tokens": 5,
        "truncated": False,
        "letter_probabilities": {"A": 0.75, "B": 0.25} if right else {"A": 0.25, "B": 0.75},
        "control": None,
    }
    return Prediction(**{**fields, **changes})


def rollout_row(step, group, index, **changes):
    return {
        "step": step,
        "id": f"question-{group}",
        "index": index,
        "images": [],
        "question": "What is seen?",
        "options": ["a cyst", "a stone"],
        "answer": "A",
        "completion": f"completion {step}/{group}/{index}",
        "choice": None,
        "rewards": {"accuracy": float(index == group)},
        "reward": float(index == group),
        "advantage": 0.5,
        "completion_tokens": 3,
        **changes,
    }


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    """A run's directory of three steps and two evaluations."""
    config = {"method": "grpo", "mode": "think", "model": EVIL, "device": "cpu", "dtype": "float32"}
    about = {"config": config, "total_steps": 3, "prompt_template": "{question} <think>"}
    (tmp_path / "run.json").write_text(json.dumps(about))
    steps = [{"step": s, "reward": s / 2, "kl": None, "time/step": 0.5} for s in (1, 2, 3)]
    write_lines(tmp_path / "metrics.jsonl", steps)
    rows = [
        rollout_row(step, group, index)
        for step in (1, 2, 3)
        for group in range(5)
        for index in (0, 1)
    ]
    rows[-1]["completion"] = rows[0]["completion"] = EVIL
    write_lines(tmp_path / "rollouts.jsonl", rows)
    (tmp_path / "eval").mkdir()
    for step, count in ((0, 3), (3, 4)):
        summary = summarize([prediction(number) for number in range(count)])
        (tmp_path / "eval" / f"step-{step:06d}.json").write_text(json.dumps(summary))
    (tmp_path / "checkpoints").mkdir()
    best = {"step": 0, "accuracy": 2 / 3, "checkpoint": None}
    (tmp_path / "checkpoints" / "best.json").write_text(json.dumps(best))
    return tmp_path


@pytest.fixture
def evaluated(tmp_path):
    """An evaluation's directory with a control, orders of the options, and a calibration."""
    plain = [prediction(number) for number in range(8)]
    blank = [prediction(number, correct=False, control="blank") for number in range(8)]
    turned = [prediction(number, permutation=(1, 0)) for number in range(8)]
    summary = {
        **summarize(plain),
        "calibration": summarize_confidence(plain),
        "controls": {"blank": summarize_control(plain, blank, {"no other image": 3})},
        "permutations": summarize_permutations(plain, turned, 2),
        "thoughts": summarize_thoughts(plain, "no_think", len),
        "evaluation": {"model": "tiny", "mode": "think"},
    }
    write_evaluation(tmp_path / "e", summary, [*plain, *blank, *turned])
    return tmp_path / "e"


# pages


def test_a_run_s_page_shows_its_numbers_and_its_groups(run):
    page = checked(write_report(run))
    for text in ("3 of 3", "66.7 % at step 0, the start model itself", "0.50 s per step"):
        assert text in page.text
    assert (run / "figures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [image["src"][:15] for image in page.images] == ["data:image/png;"]
    assert "Step 1, question-0" in page.text and "Step 3, question-0" in page.text
    assert "Step 2" not in page.text


def test_groups_that_taught_something_come_first(run):
    chosen = rollout_groups.telling_groups(rollout_groups.edge_steps(RunFiles(run))[1])
    assert [group[0]["id"] for group in chosen] == ["question-0", "question-1", "question-2"]
    assert "all of one reward" in checked(write_report(run)).text  # question-2


def test_what_a_model_wrote_is_shown_as_text(run):
    page = checked(write_report(run))
    assert page.text.count(EVIL) == 3  # the checkpoint's name, twice among facts, and a completion


def test_alarms_are_those_of_training(run):
    steps = [{"step": s, "reward": 1.0, "kl": 3.0} for s in range(1, 15)]
    write_lines(run / "metrics.jsonl", steps)
    page = checked(write_report(run))
    assert "Step 10: the KL to the start model is 3.00 nats per token" in page.text
    assert page.text.count("raise --beta") == 1


def test_an_evaluation_s_page_shows_controls_orders_and_confidence(evaluated):
    page = checked(write_report(evaluated))
    assert "thoughts: not applicable, no_think writes no thought" in page.text
    words = ("+50.0", "rows left out", "options in up to 2 orders", "expected calibration error")
    for text in (*words, "row-2 (CT, Disease Diagnosis): right"):
        assert text in page.text
    assert {file.name for file in (evaluated / "figures").iterdir()} == {
        "reliability.png",
        "risk-coverage.png",
    }


def test_blurred_and_mirrored_images_have_their_sections(tmp_path):
    plain = [prediction(n, question="Left or right?" if n < 3 else "What?") for n in range(8)]
    under = {
        name: [replace(item, control=name, correct=False) for item in plain]
        for name in ("blank", "blur:4", "blur:16", "flip")
    }
    controls = {name: summarize_control(plain, rows, {}) for name, rows in under.items()}
    controls["flip"] |= summarize_sides(plain, under["flip"])
    summary = {
        **summarize(plain),
        "controls": controls,
        "decay": summarize_decay(plain, under),
        "evaluation": {"model": "tiny", "mode": "think"},
    }
    rows = [*plain, *(item for some in under.values() for item in some)]
    write_evaluation(tmp_path / "e", summary, rows)
    page = checked(write_report(tmp_path / "e"))
    assert (tmp_path / "e" / "figures" / "decay.png").is_file()
    for words in ("Blurred images", "Mirrored images", "The line of the blank images"):
        assert words in page.text
    html = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    text = " ".join(re.sub("<[^>]*>", " ", html).split())
    assert "blur:4 8 0.0 0.0–32.4 +50.0 " in text  # what is lost with the detail is a gain
    assert "flip 8 0.0 0.0–32.4 – – 0" in text  # a mirrored image can help: no gain is shown
    assert "about left and right 3 66.7 0.0 0.0–56.1 0.0 0 –" in text
    assert "other questions 5 40.0 0.0 0.0–43.4 0.0 – –" in text


def test_only_plain_answers_are_shown_and_measured(evaluated):
    # all 24 lines have probabilities, 8 of them are the evaluation's own
    page = checked(write_report(evaluated))
    wanted = risk_coverage_curve([0.75] * 8, [True, False] * 4)
    assert (evaluated / "figures" / "risk-coverage.png").read_bytes() == to_png(wanted)
    assert re.search(r"answers\s*8\s", page.text)


def test_a_matrix_s_page_has_its_table_and_its_picture(tmp_path):
    entries = {
        (model, test): {"accuracy": 0.5, "n": 4, "low": 0.1, "high": 0.9, "chance": 0.25}
        for model in ("CT", "MRI")
        for test in ("CT", "MRI")
    }
    described = {"model": "tiny", "method": None, "step": None, "mode": "think"}
    matrix = matrix_json(entries) | {"models": {"CT": described, "MRI": described}}
    (tmp_path / "matrix.json").write_text(json.dumps(matrix))
    page = checked(write_report(tmp_path))
    assert "[50.0]" in page.text and "on the diagonal" in page.text
    assert (tmp_path / "figures" / "matrix.png").is_file()


def test_a_matrix_s_page_shows_its_controls_and_the_gain_over_them(tmp_path):
    entry = {"accuracy": 0.5, "n": 4, "low": 0.1, "high": 0.9, "chance": 0.25}
    blind = {
        "overall": entry | {"accuracy": 0.2},
        "gain": {"gain": 0.3, "low": None, "high": None, "n": 4},
    }
    described = {"model": "tiny", "method": None, "step": None, "mode": "think"}
    cell = ("CT", "CT")
    matrix = matrix_json({cell: entry}) | {"models": {"CT": described}}
    matrix["controls"] = {
        name: control_json({cell: {"controls": {name: blind}}}, name)
        for name in ("blank", "blur:4", "flip")
    }
    (tmp_path / "matrix.json").write_text(json.dumps(matrix))
    page = checked(write_report(tmp_path))
    for name in ("blank", "blur:4", "flip"):
        assert f"The same under the control: {name}" in page.text
    assert page.text.count("[20.0]") == 3
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {
        *("matrix", "matrix-blank", "matrix-blank-gain", "matrix-blur-4", "matrix-blur-4-gain"),
        "matrix-flip",
    }


def protocol(gain=0.24):
    cell = {
        "model": "CT",
        "test": "CT",
        "part": "diagonal",
        "accuracy": 0.5,
        **{"n": 4, "low": 0.1, "high": 0.9, "chance": 0.25},
        "blank": {"accuracy": 0.5 - gain, "low": 0.1, "high": 0.9},
        "visual_gain": {"gain": gain, "low": None, "high": None},
    }
    mean = {"macro": 0.5, "row_weighted": 0.5, "chance_macro": 0.25, "n": 4, "cells": 1}
    means = {"diagonal": mean, "off_diagonal": None, "all": mean}
    matrix = {
        "cells": [cell],
        "means": means,
        "blank_means": means,
        "by_model": {"CT": {"own": 0.5, "others": None}},
        "visual_gain": {"diagonal": {"macro": {"difference": gain, "low": None}}, "all": None},
    }
    axis = {
        "slices": ["CT"],
        "zero_shot": {},
        "methods": {"sft": {"0": matrix, "1": matrix}, "think": {}},
        **{"differences": [], "over_zero_shot": [], "text_priors": []},
        **{"seeds": {}, "seed_differences": []},
    }
    return {
        **{"complete": False, "resamples": 200, "runs": []},
        "missing": {"runs": ["modality/<b>/x"], "cells": []},
        "protocol": {
            **{"file": "p.toml", "model": "tiny", "methods": ["sft"], "steps": 2, "seeds": [0, 1]},
            **{"test_limit": None, "settings": {"sft": {}, "grpo": {}}},
        },
        "versions": {"torch": "2", "transformers": "5"},
        "machine": {"gpus": [], "threads": 1},
        "axes": {"modality": axis},
    }


def test_a_protocol_s_page_has_heatmaps_of_each_method_and_its_tables(tmp_path):
    (tmp_path / "protocol.json").write_text(json.dumps(protocol()))
    page = checked(write_report(tmp_path))
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {
        f"modality-sft-seed{seed}-{kind}" for seed in (0, 1) for kind in ("accuracy", "gain")
    }
    assert "details" in page.tags  # the second seed is folded away
    assert "Not complete: 1 runs are missing (modality/<b>/x)" in page.text
    assert "Modalities" in page.text and "own slice" in page.text


@pytest.mark.parametrize(("gain", "bound"), [(0.24, 0.3), (-0.41, 0.5), (0.3, 0.3), (0.0, 0.1)])
def test_the_colours_of_gains_have_one_scale_that_holds_all(gain, bound):
    assert gain_bound([gain, -gain / 2]) == bound


def test_a_protocol_without_a_cell_has_a_page(tmp_path):
    empty = protocol()
    empty["axes"]["modality"]["methods"] = {}
    (tmp_path / "protocol.json").write_text(json.dumps(empty))
    sections = protocol_sections(RunFiles(tmp_path), Album(tmp_path))
    assert "Nothing is done yet" in sections[1]


def test_tables_of_text_are_moved_under_a_narrow_window_and_prose_is_broken():
    assert aligned("a <  b") == '<pre class="columns">a &lt;  b</pre>'
    assert "pre.columns { white-space: pre; overflow-x: auto; }" in document("name", [])


def test_a_figure_of_any_name_stays_in_its_folder(tmp_path):
    album = Album(tmp_path)
    album.figures["../../outside"] = b"png"
    (tmp_path / "deep").mkdir()
    album.save(tmp_path / "deep" / "figures")
    assert [file.name for file in tmp_path.rglob("*.png")] == ["outside.png"]
    assert (tmp_path / "deep" / "figures" / "outside.png").is_file()


# parts of pages


def test_an_image_that_is_gone_leaves_its_reason(run):
    rows = [rollout_row(1, 0, 0, images=["gone/<b>.png"])]
    write_lines(run / "rollouts.jsonl", rows)
    text = checked(write_report(run, run.parent)).text
    assert f"An image is not shown: image {run.parent}/gone/<b>.png does not exist" in text


def test_long_texts_and_large_groups_are_cut_and_counted(run):
    rows = [rollout_row(1, 0, index, completion="x" * 5000) for index in range(40)]
    write_lines(run / "rollouts.jsonl", rows)
    text = checked(write_report(run)).text
    assert text.count("… (3,000 more characters)") == rollout_groups.COMPLETIONS == 16
    assert "24 more in rollouts.jsonl." in text


# what goes wrong


def test_without_matplotlib_the_page_has_all_but_figures(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report_finished(run)
    out, err = capsys.readouterr()
    assert (
        out.count("\n") == 1
        and f"python -m pip install matplotlib && python -m evaluation.report {run})" in out
        and err == ""
    )
    page = checked(write_report(run))
    assert page.images == [] and "66.7 % at step 0" in page.text
    command = f"python -m pip install matplotlib && python -m evaluation.report {run.resolve()}"
    assert page.text.count(command) == 1
    assert not (run / "figures").exists()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", "{", r"run\.json cannot be read"),
        ("run.json", "[]", r"run\.json holds list, no object"),
        ("run.json", "{}", r"run\.json or a file beside it lacks .*'config'"),
        ("run.json", "[" * 100_000, r"run\.json cannot be read"),
        ("run.json", '{"config": {"model": 1}, "total_steps": "x"}', r"lacks what it should hold"),
    ],
)
def test_a_broken_file_is_named(run, file, content, words, capsys):
    (run / file).write_text(content)
    with pytest.raises(ValueError, match=words):
        write_report(run)
    assert main([str(run)]) == 2
    report_finished(run)  # after a run: a warning, and the run is whole
    assert f"python -m evaluation.report {run}" in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_a_line_that_a_broken_off_run_left_is_no_error(run):
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "rew')
    assert "3 of 3" in checked(write_report(run)).text


def test_a_directory_of_another_kind_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert (
        "has none of run.json, summary.json, matrix.json, protocol.json" in capsys.readouterr().err
    )


def test_the_command_writes_the_page_anew(run, capsys):
    (run / "report.html").write_text("old")
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    assert "old" not in (run / "report.html").read_text()[:3]
