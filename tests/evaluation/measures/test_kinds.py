"""Questions of all forms in one evaluation: the numbers of tests/evaluation/mixed.py by hand."""

import json
from dataclasses import replace

import pytest

from evaluation.answers.finished import Evaluation, write_evaluation
from evaluation.answers.identity import Identity
from evaluation.answers.kept_fields import kept_fields
from evaluation.answers.prediction import Prediction, check_fields, judge
from evaluation.asking.orders import option_orders, permuted_rows
from evaluation.cells import Cell
from evaluation.compare import compare, comparison_table
from evaluation.matrix_json import matrix_json
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.sliced import check_by
from evaluation.measures.summary import summarize
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.report.extra_text import extra_table, letters_note
from evaluation.report.matrix_text import matrix_table
from evaluation.report.summary_html import slices_table
from evaluation.report.summary_text import change_table, summary_table
from evaluation.report.thought_text import thought_table
from rewards.forms import is_right
from tests.evaluation.mixed import QUESTIONS, answered

pytestmark = pytest.mark.unit


@pytest.fixture
def rows():
    return answered()


def test_each_form_is_read_and_judged_in_its_own_way(rows):
    assert [item.correct for item in rows] == [True, False, True, False, True, False, True, False]
    assert [item.lenient_correct for item in rows[:4]] == [True, False, True, True]
    assert [item.choice for item in rows[:4]] == ["A", "A", "A", None]


def test_there_is_a_chance_only_where_every_row_has_one(rows):
    assert summarize(rows)["overall"]["chance"] is None
    # a quarter, a half, and two halves for yes or no
    assert summarize(rows[:4])["overall"]["chance"] == pytest.approx((1 / 4 + 3 / 2) / 4)


def test_only_letters_have_probabilities_and_the_other_rows_are_counted(rows):
    sure = {"A": 0.75, "B": 0.25}
    rows = [replace(row, letter_probabilities=sure, letter_mass=0.9) for row in rows[:2]] + rows[2:]
    found = summarize_confidence(rows)
    assert (found["n"], found["not_lettered"], found["without_answer_tag"]) == (2, 6, 0)
    assert (found["accuracy"], found["confidence"]) == (0.5, 0.75)
    note = letters_note({"calibration": found})
    assert note.endswith("; 6 rows answered by yes or no, a text or a number have none")
    assert "not_lettered" not in summarize_confidence(rows[:2])


def test_only_lettered_options_have_other_orders():
    assert [len(option_orders(item, 4, seed=0)) for item in QUESTIONS] == [4, 2, *[1] * 6]
    asked = permuted_rows(QUESTIONS, 4, seed=0)
    assert {item.id for rows in asked for item, _ in rows} == {"letter-0", "letter-1"}
    with pytest.raises(ValueError, match="no row has lettered options"):
        permuted_rows(QUESTIONS[2:], 4, seed=0)


def test_orders_are_summed_up_over_the_lettered_rows_and_the_others_counted(rows):
    other = replace(rows[1], options=("MRI", "CT"), permutation=(1, 0), answer="A", correct=True)
    found = summarize_permutations(rows, [other], 2)
    assert (found["n"], found["not_lettered"], found["kept_order"]) == (2, 6, 0)
    # letter-0 is right in its one order, letter-1 in one of two; its A is CT, then MRI
    assert (found["accuracy"], found["all_right"], found["text_changes"]) == (0.75, 0.5, 0.5)
    assert "options are not lettered" in extra_table({"permutations": found})
    assert "not_lettered" not in summarize_permutations(rows[:2], [other], 2)


def test_a_thought_names_the_written_answer_of_an_open_question_or_it_does_not():
    def judged(example, thought, answer):
        text = f"<think>{thought}</think><answer>{answer}</answer>"
        return judge(example, text, mode="think", completion_tokens=9, truncated=False)

    lung, two = QUESTIONS[4], QUESTIONS[6]
    rows = [
        judged(QUESTIONS[0], "a bright ring, so CT", "A"),
        judged(lung, "dark, so the Left Lung.", "left lung"),
        judged(lung, "a dark field", "left lung"),
        judged(two, "there are 3 of them", "3"),
        judged(two, "there are 13 of them", "3"),
        judged(two, "", "3"),
        judged(two, "many of them", "many"),
        judged(QUESTIONS[2], "there is no mass", "yes"),
        replace(judged(lung, "", "left lung"), completion="<answer>left lung</answer>"),
    ]
    found = summarize_thoughts(rows, "think", len)
    assert {name: entry["n"] for name, entry in found["classes"].items()} == {
        "chosen": 3, "several": 0, "other": 0, "none": 2, "empty": 1, "missing": 1, "no_choice": 1
    }  # fmt: skip
    assert (found["n"], found["yes_or_no"]) == (8, 1)
    assert "left out: 1 questions of yes or no" in thought_table(found)
    alone = summarize_thoughts([rows[7]], "think", len)
    assert alone["reason"] == "all questions are yes or no"
    assert "yes_or_no" not in summarize_thoughts(rows[:3], "think", len)


def test_closed_and_open_questions_are_counted_apart_and_so_is_every_form(rows):
    found = summarize(rows)
    counts = {name: (entry["n"], entry["accuracy"]) for name, entry in found["by_form"].items()}
    assert counts == {"letter": (2, 0.5), "yes_no": (2, 0.5), "text": (2, 0.5), "number": (2, 0.5)}
    assert list(found["by_kind"]) == ["choice", "text", "number"]
    assert (found["closed"]["n"], found["open"]["n"]) == (4, 4)
    assert found["closed"] == found["by_kind"]["choice"]
    assert found["closed"]["lenient_accuracy"] == 3 / 4  # "It is no." for a forgiving reader
    assert found["closed"]["chance"] == pytest.approx((1 / 4 + 3 / 2) / 4)
    assert found["open"]["chance"] is None
    assert found["open"]["parse_failures"] == 1 / 4


@pytest.mark.parametrize("axis", ["by_form", "by_kind"])
def test_accuracies_of_the_parts_weighted_by_their_rows_give_the_whole(axis):
    rows = answered()[1:] + answered()[6:7]  # parts of unequal sizes
    found = summarize(rows)
    parts = found[axis].values()
    for name in ("accuracy", "lenient_accuracy", "well_formed", "parse_failures"):
        total = sum(entry["n"] * entry[name] for entry in parts)
        assert total / len(rows) == pytest.approx(found["overall"][name])
    assert found["closed"]["n"] + found["open"]["n"] == found["overall"]["n"] == len(rows)


def test_choices_by_letter_alone_have_no_kinds_and_one_other_form_has(rows):
    plain = summarize(rows[:2])
    assert not {"by_form", "by_kind", "closed", "open", "by_field"} & set(plain)
    assert "open" not in summarize(rows[:3]) and summarize(rows[:3])["closed"]["n"] == 3
    assert "closed" not in summarize(rows[4:]) and summarize(rows[4:])["open"]["n"] == 4


def test_the_printed_table_and_the_page_show_closed_and_open_with_their_forms(rows):
    lines = [line.split() for line in summary_table(summarize(rows)).splitlines()]
    start = next(i for i, line in enumerate(lines) if line[:3] == ["closed", "and", "open"])
    assert [line[:3] for line in lines[start + 1 : start + 7]] == [
        ["closed", "4", "50.0"],
        ["letter", "2", "50.0"],
        ["yes", "or", "no"],
        ["open", "4", "50.0"],
        ["text", "2", "50.0"],
        ["number", "2", "50.0"],
    ]
    assert len(lines[start + 4]) == len(lines[start + 1]) - 1  # no chance
    page = slices_table(summarize(rows))
    for name in ("closed and open questions", "yes or no", "answer type", "OPEN"):
        assert name in page
    assert "by form" not in page
    assert "closed" not in summary_table(summarize(rows[:2]))
    table = change_table(summarize(rows), summarize(answered(tuple("AB") + ("no",) * 6)))
    assert any(line.split()[:1] == ["open"] for line in table.splitlines())


def test_rows_are_told_apart_by_any_of_their_fields(rows):
    found = summarize(rows)["by_field"]
    assert list(found) == ["answer_type"]
    counts = {value: entry["n"] for value, entry in found["answer_type"].items()}
    assert counts == {"CLOSED": 2, "OPEN": 2, "unknown": 4}
    languages = ["de"] + ["en"] * 7
    rows = [
        replace(row, fields={"lang": language, "id": row.id})
        for row, language in zip(rows, languages, strict=True)
    ]
    found = summarize(rows, ("lang", "nothing"))["by_field"]
    assert {value: entry["n"] for value, entry in found["lang"].items()} == {"de": 1, "en": 7}
    assert "lang" in summary_table(summarize(rows, ("lang",)))
    check_by(("lang",), [row.fields for row in rows])
    with pytest.raises(ValueError, match=r"--by size: no row has .*, they have id, lang"):
        check_by(("size",), [row.fields for row in rows])
    with pytest.raises(ValueError, match="they have none"):
        check_by(("size",), [{}])
    many = [{"id": number} for number in range(200)]
    with pytest.raises(ValueError, match="200 values are too many"):
        check_by(("id",), many)
    assert "by_field" not in summarize([replace(rows[0], fields=row) for row in many], ("id",))


def test_a_field_makes_slices_up_to_a_hundred_values_and_unknown_is_the_last(rows):
    known = [{"id": f"x{number:03}"} for number in range(100)]
    check_by(("id",), known)
    sliced = summarize([replace(rows[0], fields=row) for row in [{}, *known[::-1]]], ("id",))
    assert list(sliced["by_field"]["id"]) == [*(row["id"] for row in known), "unknown"]
    more = [*known, {"id": "x100"}]
    with pytest.raises(ValueError, match="101 values are too many"):
        check_by(("id",), more)
    assert "by_field" not in summarize([replace(rows[0], fields=row) for row in more], ("id",))
    with pytest.raises(ValueError, match=r"f18, f19$"):  # names of twenty fields, and no more
        check_by(("size",), [{f"f{number:02}": 1 for number in range(30)}])


def test_what_a_line_holds_is_enough_to_judge_it_again(rows):
    for item, example in zip(rows, QUESTIONS, strict=True):
        line = json.loads(json.dumps(item.to_json()))
        check_fields(line)
        again = Prediction.from_json(line)
        assert again == item
        assert is_right(again.choice, again) == is_right(item.choice, example)
    assert "accepted" not in rows[0].to_json() and "fields" not in rows[0].to_json()
    assert rows[4].to_json()["accepted"] == ("left side",)
    assert rows[6].to_json()["absolute_tolerance"] == 0.5
    assert rows[4].to_json()["fields"] == {"answer_type": "OPEN"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "essay"},
        {"form": 3},
        {"accepted": [3]},
        {"absolute_tolerance": "1"},
        {"fields": []},
        {"fields": {"a": {"b": 1}}},
        {"fields": {"a": "x" * 201}},
    ],
)
def test_a_line_of_other_content_is_none(rows, wrong):
    with pytest.raises((ValueError, TypeError)):
        check_fields({**rows[4].to_json(), **wrong})


def test_only_short_plain_values_of_a_row_are_kept():
    image = {"bytes": "x"}
    fields = {"a": 1, "b": "x" * 201, "c": image, "d": float("nan"), "e": True, "f": 2**70, "g": ""}
    assert kept_fields(fields) == {"a": 1, "e": True, "g": ""}
    assert len(kept_fields({str(i): i for i in range(50)})) == 40


def test_two_models_are_compared_by_form_too(rows, tmp_path):
    other = answered(("A", "B", "no", "no", "heart", "heart", "3", "10"))
    found = compare(
        Evaluation(tmp_path, {}, tuple(rows)), Evaluation(tmp_path / "b", {}, tuple(other))
    )
    assert found["overall"]["mcnemar"]["first_only"] == 2  # yes-0, text-0
    assert found["overall"]["mcnemar"]["second_only"] == 4
    assert found["by_form"]["number"]["change"] == 0.5
    assert found["closed"]["n"] == found["open"]["n"] == 4
    assert "yes_no" in comparison_table(found)
    key = replace(other[4], accepted=("right side",))
    with pytest.raises(ValueError, match="text-0 has another question, other options or another"):
        compare(
            Evaluation(tmp_path, {}, tuple(rows)),
            Evaluation(tmp_path, {}, (*other[:4], key, *other[5:])),
        )


def test_a_matrix_of_open_questions_has_no_chance_and_is_read_again(rows, tmp_path):
    summaries = {("a", "a"): summarize(rows), ("a", "b"): summarize(rows[:4])}
    matrix = matrix_json({cell: one["overall"] for cell, one in summaries.items()})
    assert [cell["chance"] for cell in matrix["cells"]] == [None, pytest.approx(0.4375)]
    assert matrix["means"]["all"]["chance_macro"] is None
    assert matrix["means"]["off_diagonal"]["chance_macro"] == pytest.approx(0.4375)
    (chance,) = [line for line in matrix_table(matrix).splitlines() if line.startswith("chance")]
    assert chance.split() == ["chance", "-", "43.8"]
    for number, summary in enumerate(summaries.values()):
        place = tmp_path / str(number)
        write_evaluation(place, summary | {"evaluation": {}}, rows[: summary["overall"]["n"]])
        cell = Cell("a", "b", place, Identity(**dict.fromkeys(Identity.__dataclass_fields__)))
        assert cell.read_summary()["overall"] == summary["overall"]
        assert len(cell.read_rows()) == summary["overall"]["n"]
