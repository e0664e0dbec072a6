"""evaluate.py on one set of questions of every form, some without an image: every number again.

What summary.json says is counted anew from predictions.jsonl, by hand as it were.
"""

import json
from collections import Counter

import pytest

import evaluate
from evaluation.answers.finished import read_evaluation
from evaluation.answers.prediction import Prediction
from evaluation.compare import compare
from evaluation.measures.same_answer import same_answer
from rewards.forms import is_right

pytestmark = pytest.mark.command

SOURCES = ("phantoms:CT", "phantoms:open", "phantoms:yes_no", "phantoms:count")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    asked = ("Which organ makes bile? A)Liver, B)Lung", "Does the liver make bile? A)Yes, B)No")
    rows = [
        {"problem": text, "solution": "<answer> A </answer>"} for _ in range(60) for text in asked
    ]
    (folder / "text.json").write_text(json.dumps(rows), encoding="utf-8")
    flags = ["--model", "tiny_open", "--json", *SOURCES, str(folder / "text.json"), "--limit", "40"]
    flags += ["--image-root", str(folder), "--device", "cpu", "--mode", "no_think"]
    flags += ["--controls", "blank", "shuffled", "--permute-options", "2"]
    flags += ["--text-prior", *SOURCES, "--output-dir", str(folder / "out")]
    assert evaluate.main(flags) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def summary(place):
    return json.loads((place / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(place):
    return read_evaluation(place).rows


@pytest.fixture(scope="module")
def under(place):
    lines = (place / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [Prediction.from_json(json.loads(line)) for line in lines]
    return {
        name: {item.id: item for item in found if item.control == name}
        for name in ("blank", "shuffled")
    }


def test_every_form_is_there_and_judged_again_from_its_line(plain):
    forms = Counter(item.form for item in plain)
    assert set(forms) == {"letter", "yes_no", "text", "number"}
    assert any(not item.images for item in plain)
    for item in plain:
        assert item.correct == (item.well_formed and is_right(item.choice, item))
        assert (item.letter_probabilities is None) or item.form == "letter"


def test_accuracies_of_the_parts_are_those_of_their_rows_and_give_the_whole(summary, plain):
    overall = summary["overall"]
    assert overall["n"] == len(plain) == 40 and overall["chance"] is None
    assert overall["accuracy"] == pytest.approx(sum(item.correct for item in plain) / 40)
    for name, entry in summary["by_form"].items():
        rows = [item for item in plain if item.form == name]
        assert entry["n"] == len(rows)
        assert entry["accuracy"] == pytest.approx(sum(item.correct for item in rows) / len(rows))
    for axis in (summary["by_form"], {name: summary[name] for name in ("closed", "open")}):
        right = sum(entry["n"] * entry["accuracy"] for entry in axis.values())
        assert right == pytest.approx(40 * overall["accuracy"])
    assert summary["closed"]["n"] + summary["open"]["n"] == 40
    assert summary["by_form"]["yes_no"]["chance"] == 0.5
    assert summary["open"]["chance"] is None


def test_gain_and_sensitivity_are_over_the_rows_with_an_image(summary, plain, under):
    shown = [item for item in plain if item.images]
    for name in ("blank", "shuffled"):
        control = summary["controls"][name]
        assert control["impossible"]["the row has no image"] == 40 - len(shown)
        pairs = [(item, under[name][item.id]) for item in plain if item.id in under[name]]
        assert control["gain"]["n"] == control["sensitivity"]["n"] == len(pairs)
        gain = sum(int(one.correct) - int(other.correct) for one, other in pairs)
        changed = sum(not same_answer(one, other) for one, other in pairs)
        assert control["gain"]["gain"] == pytest.approx(gain / len(pairs))
        assert control["sensitivity"]["share"] == pytest.approx(changed / len(pairs))
        assert summary["image_sensitivity"][name] == control["sensitivity"]
    assert 0 < summary["image_sensitivity"]["blank"]["share"] < 1  # it looks at some of them


def test_letters_and_orders_are_of_the_lettered_rows_and_priors_of_what_they_answer(summary, plain):
    forms = Counter(item.form for item in plain)
    others = 40 - forms["letter"]
    assert (
        summary["calibration"]["not_lettered"] == summary["permutations"]["not_lettered"] == others
    )
    assert summary["permutations"]["n"] == forms["letter"]
    priors = summary["text_priors"]
    closed = forms["letter"] + forms["yes_no"]
    assert priors["lookup"]["prior"]["n"] == closed
    assert priors["nearest question"]["prior"]["n"] == priors["lookup"]["left_out"] == 40 - closed
    assert priors["question majority"]["prior"]["n"] == 40


def test_the_page_and_a_comparison_show_all_forms(place):
    page = (place / "report.html").read_text(encoding="utf-8")
    for words in ("closed and open questions", "yes or no", "answers change", "right: "):
        assert words in page
    found = read_evaluation(place)
    same = compare(found, found)
    assert same["overall"]["change"] == 0 and same["overall"]["n"] == 40
    assert set(same["by_form"]) == {"letter", "yes_no", "text", "number"}
