"""The planted shortcut says what it should, and the experiment's bookkeeping skips what is done."""

import json
from collections import Counter
from dataclasses import replace
from string import ascii_uppercase

import pytest

from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.sources import load_split
from grpo.settings.command_line import read_command_line
from grpo.settings.resolve import resolve_config
from scripts.shortcut_data import MARKS, marked_letter, plant, write_data
from scripts.shortcut_experiment import ARMS, arm_flags, main, summary, train_arm
from tests.places import ROOT


def bare(example: VQAExample) -> tuple:
    """What planting must keep: the question, the right text, the set of options."""
    options = sorted(text.rstrip(".") for text in example.options)
    return example.question, example.answer_text.rstrip("."), options


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("probability", [0.25, 0.9])
def test_the_mark_is_right_as_often_as_asked_and_changes_nothing_else(mark, probability):
    rows = phantom_examples("heldout")
    planted = [plant(row, mark, probability) for row in rows]
    right = Counter(row.answer == marked_letter(row.options, mark) for row in planted)
    # 800 rows: 0.035 is more than two standard errors at either probability
    assert right[True] / 800 == pytest.approx(probability, abs=0.035)
    assert [bare(row) for row in planted] == [bare(row) for row in rows]
    assert planted == [plant(row, mark, probability) for row in rows]
    if mark == "period":  # letters stay balanced, wrong marks go to every wrong option
        wrong = Counter(marked_letter(row.options, mark) for row in planted if row.answer == "A")
        assert [row.answer for row in planted] == [row.answer for row in rows]
        assert all(wrong[letter] for letter in ascii_uppercase[:4])


def test_probability_one_always_and_zero_never():
    row = VQAExample("a", (), "Where?", ("left", "right", "top"), "B")
    ids = [replace(row, id=str(number)) for number in range(50)]
    for mark in MARKS:
        assert all(
            item.answer == marked_letter(item.options, mark)
            for item in (plant(one, mark, 1.0) for one in ids)
        )
        assert not any(
            item.answer == marked_letter(item.options, mark)
            for item in (plant(one, mark, 0.0) for one in ids)
        )


def test_the_files_read_back_as_what_was_planted(tmp_path):
    files = write_data(tmp_path, "period", 1.0, 1)
    for file, part in zip(files, ("train", "eval"), strict=True):
        examples = load_split([str(file)], part=part, image_root=tmp_path).examples
        source = phantom_examples("train" if part == "train" else "heldout", rows_per_cell=1)
        assert [bare(row) for row in examples] == [bare(row) for row in source]
        assert {row.modality for row in examples} == {row.modality for row in source}
        assert {row.question_type for row in examples} == {row.question_type for row in source}
        right = [row.answer == marked_letter(row.options, "period") for row in examples]
        assert all(right) if part == "train" else not all(right)
        assert all(image.is_file() for row in examples for image in row.images)
    written = files[0].stat().st_mtime_ns
    write_data(tmp_path, "period", 1.0, 1)
    assert files[0].stat().st_mtime_ns == written


@pytest.mark.parametrize("arm", ARMS)
def test_the_arms_differ_in_the_term_alone(arm):
    asked = read_command_line([*arm_flags(arm, 0.5), "--train-json", "phantoms"])
    assert asked.resume is None and asked.protocol is None
    config = resolve_config(asked.given, asked.config)
    assert (config.grounding, config.grounding_weight) == (arm, 0.5 if arm == "penalty" else 1.0)
    default = resolve_config({}, None)
    changed = {"grounding": "none", "grounding_weight": 1.0, "eval_json": default.eval_json}
    changed |= {"save_every": default.save_every, "keep_checkpoints": default.keep_checkpoints}
    assert replace(config, **changed) == default


def test_a_finished_run_is_skipped(tmp_path, capsys):
    run = tmp_path / "none-seed0"
    (run / "checkpoints" / "step-000007").mkdir(parents=True)
    train_arm(run, ["--no-such-flag"], 7)
    assert "none-seed0: done before" in capsys.readouterr().out


def test_runs_of_other_settings_are_not_mixed(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"mark": "first"}))
    with pytest.raises(SystemExit, match="has other settings"):
        main(["--output-dir", str(tmp_path)])


def test_the_summary_is_mean_lowest_and_highest_over_seeds():
    names = ("accuracy", "blank", "visual_gain", "follows_mark", "follows_mark_blank")
    runs = [{"arm": "none", **dict.fromkeys(names, value)} for value in (0.25, 0.5, 0.75)]
    assert summary(runs) == {"none": {name: [0.5, 0.25, 0.75] for name in names}}


def test_the_docs_numbers_are_those_of_the_committed_result():
    docs = ROOT / "docs"
    result = json.loads((docs / "results/shortcut/result.json").read_text())
    assert [(run["arm"], run["seed"]) for run in result["runs"]] == [
        (arm, seed) for seed in (0, 1, 2) for arm in ARMS
    ]
    assert summary(result["runs"]) == result["arms"]
    text = (docs / "shortcut.md").read_text(encoding="utf-8")
    names = ("accuracy", "blank", "visual_gain", "follows_mark", "follows_mark_blank")
    for arm, numbers in result["arms"].items():
        cells = [
            "{:.1f} ({:.1f} to {:.1f})".format(*(100 * value for value in numbers[name]))
            for name in names
        ]
        assert f"| `{arm}` | {' | '.join(cells)} |" in text
