"""Passes of one evaluation: planned, run, summed up and printed; hand-made and with `tiny`."""

import json
from dataclasses import replace

import pytest
from PIL import Image

import evaluate
from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.answers.prediction import judge
from evaluation.asking.answerer import answer_all
from evaluation.asking.evaluation_plan import plan_passes, summarize_passes
from evaluation.measures.summary import summarize
from evaluation.report.extra_text import extra_table, images_note
from models import load_policy
from process.page import fitted

pytestmark = pytest.mark.model


class Drawing:
    """An image in one colour."""

    def __init__(self, name, color=(9, 9, 9)):
        self.name, self.color = name, color

    def __call__(self):
        return Image.new("RGB", (84, 84), self.color)

    def __str__(self):
        return self.name


def row(number, image, answer="A"):
    return VQAExample(
        f"row-{number}", (Drawing(image),), "Which?", ("x", f"y{number}", "z"), answer, "CT", "Any"
    )


def answers(plan):
    """The stand-in's answers to the questions of all passes, in their order."""
    return [
        prediction
        for item in plan.passes
        for prediction in stand_in(item.examples, control=item.control, orders=item.orders)
    ]


def stand_in(rows, *, control, orders):
    """Answer "x" where it sees the row's own image, else A; written as an `Answerer` would."""
    found = []
    for place, example in enumerate(rows):
        sees = control is None
        letter = "ABC"[example.options.index("x")] if sees else "A"
        found.append(
            judge(
                example,
                f"<answer>{letter}</answer>",
                mode="no_think",
                completion_tokens=3,
                truncated=False,
                control=control,
                permutation=None if orders is None else orders[place],
                letter_probabilities={"A": 0.5, "B": 0.25, "C": 0.25},
            )
        )
    return found


@pytest.fixture(scope="module")
def hand_made():
    """EvaluationPlan, predictions and summary of six rows on four images, all passes asked for."""
    rows = [
        row(i, f"{i // 2}.png" if i < 4 else f"{i}.png", "A" if i < 5 else "B") for i in range(6)
    ]
    plan = plan_passes(
        rows, rows, controls=["blank", "shuffled", "swapped"], permute_options=3, seed=0
    )
    predictions = answers(plan)
    return plan, predictions, summarize_passes(plan, predictions)


def test_the_plain_pass_comes_first_and_is_summed_up_as_without_the_others(hand_made):
    plan, predictions, summary = hand_made
    assert [item.title for item in plan.passes] == [
        *("evaluating", "blank", "shuffled", "swapped"),
        *("order 2", "order 3"),
    ]
    assert plan.num_questions == len(predictions) == 6 * 6
    plain = [item for item in predictions if item.is_plain]
    assert predictions[:6] == plain
    alone = summarize(plain)
    assert {name: summary[name] for name in alone} == alone
    assert summary["calibration"]["n"] == 6


def test_the_numbers_of_the_other_passes(hand_made):
    _, _, summary = hand_made
    # the right option is x in rows 0 to 4, and stands at A there: blind is right as well
    assert summary["overall"]["accuracy"] == 5 / 6
    assert summary["visual_gain"] == summary["controls"]["blank"]["gain"]
    assert summary["visual_gain"]["gain"] == 0.0
    assert summary["visual_gain"]["images"] == 4
    assert set(summary["controls"]) == {"blank", "shuffled", "swapped"}
    permutations = summary["permutations"]
    assert (permutations["n"], permutations["answers"]) == (6, 18)
    assert permutations["accuracy"] == permutations["all_right"] == pytest.approx(5 / 6)
    assert permutations["text_changes"] == 0.0
    json.dumps(summary, allow_nan=False)


def test_the_rows_under_the_table(hand_made):
    _, _, summary = hand_made
    entry = summarize([item for item in hand_made[1] if item.is_plain])["overall"]
    summary = {
        **summary,
        "text_priors": {
            "lookup": {"prior": {**entry, "accuracy": 0.75}, "model_where_wrong": entry},
            "ranker": {"prior": {**entry, "accuracy": 1.0}, "model_where_wrong": None},
        },
    }
    summary["controls"]["swapped"]["impossible"] = {"CT holds no other image": 2}
    lines = [" ".join(line.split()) for line in extra_table(summary).splitlines()]
    assert all(len(line) < 100 for line in fitted(extra_table(summary)).splitlines())
    assert "image blank 6 83.3 43.6-97.0 33.3 100.0 +0.0 -60.2 to +60.2" in lines
    assert any(line.startswith("options in 3 orders 6 83.3 ") for line in lines)
    assert "right under every order 6 83.3" in lines
    assert "chosen text changes 6 0.0" in lines
    assert "lookup 6 75.0 43.6-97.0 33.3" in lines
    assert "model where it is wrong 6 83.3 43.6-97.0 33.3" in lines
    assert lines.count("model where it is wrong 6 83.3 43.6-97.0 33.3") == 1
    assert "swapped: 2 rows left out, CT holds no other image" in lines


def test_without_other_passes_there_are_no_rows_under_the_table():
    rows = [row(i, f"{i}.png") for i in range(3)]
    plan = plan_passes(rows, rows)
    summary = summarize_passes(plan, answers(plan))
    assert extra_table(summary) == images_note(summary) == ""
    assert not {"controls", "visual_gain", "permutations"} & set(summary)


def test_shared_images_are_said(hand_made):
    note = images_note(hand_made[2])
    assert note.startswith("rows share images: interval by image ")
    assert note.endswith("(6 rows, 4 images)")
    overall = {"n": 2, "images": 1, "image_low": None, "image_high": None}
    assert images_note({"overall": overall}) == "all rows share one image: no interval by image"


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny")


def run(policy, rows, **options):
    turns = TurnBuilder(TEMPLATES["think"], 84)
    options = {"mode": "think", "max_completion_tokens": 12, "progress": False, **options}
    return answer_all(policy, rows, turns, with_letters=True, **options)


def test_a_blank_image_tells_nothing_of_what_was_on_it(policy):
    rows = phantom_examples("heldout", None)[:6]
    others = [
        replace(item, images=other.images) for item, other in zip(rows, rows[::-1], strict=True)
    ]

    def numbers(examples, control=None):
        return [item.letter_probabilities for item in run(policy, examples, control=control)]

    assert numbers(rows, "blank") == numbers(others, "blank")
    assert numbers(rows) != numbers(others)
    assert numbers(rows) != numbers(rows, "blank")
    assert {item.control for item in run(policy, rows, control="blank")} == {"blank"}
    with pytest.raises(ValueError, match="unknown control 'noise': use one of blank, shuffled"):
        run(policy, rows, control="noise")


def read(directory):
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    lines = (directory / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return summary, [json.loads(line) for line in lines]


def test_all_passes_from_the_command_line(tmp_path, capsys):
    flags = ("--limit", "6", "--max-completion-tokens", "12", "--output-dir", str(tmp_path / "out"))
    flags = (*flags, "--controls", "blank", "shuffled", "no_image", "swapped")
    assert evaluate.main([*flags, "--permute-options", "2"]) == 0
    summary, lines = read(tmp_path / "out")
    assert len(lines) == 6 * 6
    by_control = {}
    for line in lines:
        by_control.setdefault((line["control"], line["permutation"] == [0, 1, 2, 3]), []).append(
            line
        )
    assert {key: len(some) for key, some in by_control.items()} == {
        **{(name, True): 6 for name in (None, "blank", "shuffled", "no_image", "swapped")},
        (None, False): 6,
    }
    plain = by_control[None, True]
    for name in ("shuffled", "swapped"):
        for own, other in zip(plain, by_control[name, True], strict=True):
            assert own["id"] == other["id"]
            assert set(own["images"]).isdisjoint(other["images"])
    assert all(line["images"] == [] for line in by_control["no_image", True])
    accuracy = {
        name: sum(line["correct"] for line in by_control[name, True]) / 6
        for name in (None, "blank", "no_image")
    }
    assert summary["visual_gain"]["gain"] == pytest.approx(accuracy[None] - accuracy["blank"])
    assert summary["controls"]["no_image"]["overall"]["accuracy"] == accuracy["no_image"]
    assert summary["permutations"]["answers"] == 12
    assert summary["evaluation"]["controls"] == ["blank", "shuffled", "no_image", "swapped"]
    out = capsys.readouterr().out
    assert "answers         36 in 6 passes" in out
    assert "image left out" in out


def test_text_priors_are_fitted_on_the_train_part(tmp_path, capsys):
    pytest.importorskip("data.priors")
    flags = ("--limit", "4", "--max-completion-tokens", "2", "--output-dir", str(tmp_path / "out"))
    assert evaluate.main([*flags, "--text-prior", "phantoms"]) == 0
    summary, _ = read(tmp_path / "out")
    assert summary["text_priors"]["lookup"]["prior"]["n"] == 4
    assert "text priors (no image)" in capsys.readouterr().out
