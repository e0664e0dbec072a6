"""A hand-made list of predictions: every count of the summary and every line of the tables."""

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.measures.statistics import wilson_interval
from evaluation.measures.summary import summarize
from evaluation.report.summary_text import change_table, sample_completions, summary_table
from rewards import accuracy_reward

RIGHT, WRONG = "<answer>B</answer>", "<answer>C</answer>"
HEDGED, RAMBLING, LONE = "<answer>B or C</answer>", "no idea", "It is B."


def predict(completion, *, options="WXYZ", truncated=False, tokens=4, **slices):
    slices = {"modality": "CT", "question_type": "Lesion Grading", "dataset": "one", **slices}
    example = VQAExample("row-0", (), "Which?", tuple(options), "B", **slices)
    return judge(
        example, completion, mode="no_think", completion_tokens=tokens, truncated=truncated
    )


@pytest.fixture
def predictions():
    # CT: 2 of 4 right strictly, 3 leniently (HEDGED's first letter is B); MRI: LONE only leniently
    return [
        predict(RIGHT, tokens=4),
        predict(RIGHT, tokens=4, options="WX"),
        predict(WRONG, tokens=4),
        predict(HEDGED, tokens=8),
        predict(LONE, tokens=5, modality="MRI", question_type="unknown", dataset="two"),
        predict(
            RAMBLING,
            tokens=16,
            truncated=True,
            modality="MRI",
            question_type="Disease Diagnosis",
            dataset="unknown",
        ),
    ]


def test_the_overall_counts(predictions):
    overall = summarize(predictions)["overall"]
    low, high = wilson_interval(2, 6)
    assert overall == pytest.approx(
        {
            "accuracy": 2 / 6,
            "n": 6,
            "low": low,
            "high": high,
            "chance": (5 / 4 + 1 / 2) / 6,
            "lenient_accuracy": 4 / 6,
            "well_formed": 3 / 6,
            "parse_failures": 3 / 6,
            "lenient_parse_failures": 1 / 6,
            "truncated": 1 / 6,
            "completion_tokens": (4 + 4 + 4 + 8 + 5 + 16) / 6,
        }
    )


def test_slices_are_counted_on_their_own_and_stand_in_the_published_order(predictions):
    summary = summarize(predictions[::-1])
    assert list(summary["by_modality"]) == ["CT", "MRI"]
    assert list(summary["by_question_type"]) == ["Disease Diagnosis", "Lesion Grading", "unknown"]
    assert list(summary["by_dataset"]) == ["one", "two", "unknown"]
    ct, mri = summary["by_modality"].values()
    assert (ct["n"], ct["accuracy"], ct["lenient_accuracy"], ct["truncated"]) == (4, 0.5, 0.75, 0)
    assert (mri["n"], mri["accuracy"], mri["lenient_accuracy"]) == (2, 0.0, 0.5)
    assert ct["chance"] == (3 / 4 + 1 / 2) / 4


def test_macro_means_weigh_slices_and_not_rows(predictions):
    # modalities 2/4 and 0/2; question types 0/1, 2/4 and 0/1
    macro = summarize(predictions)["macro"]
    assert macro["by_modality"] == pytest.approx((0.5 + 0.0) / 2)
    assert macro["by_question_type"] == pytest.approx((0.0 + 0.5 + 0.0) / 3)
    assert macro["row_weighted"] == pytest.approx(2 / 6)


def test_an_empty_evaluation_has_no_accuracy():
    with pytest.raises(ValueError, match="the evaluation set is empty"):
        summarize([])


@pytest.mark.parametrize("completion", [RIGHT, WRONG, HEDGED, RAMBLING, LONE, "", "B" + RIGHT])
def test_correct_is_what_the_accuracy_reward_pays_for(completion):
    item = predict(completion)
    assert item.correct == (accuracy_reward(completion, "B", "no_think", tuple("WXYZ")) == 1.0)


def test_a_right_letter_in_the_wrong_form_is_only_leniently_right():
    item = predict("So: " + RIGHT)
    assert (item.choice, item.well_formed, item.correct, item.lenient_correct) == (
        "B",
        False,
        False,
        True,
    )


def test_the_table_shows_every_slice_in_per_cent(predictions):
    table = summary_table(summarize(predictions))
    rows = {line[:28].strip(): line[28:].split() for line in table.splitlines()}
    # n, accuracy, 95 % range, chance, lenient, well-formed, parse failures, truncated
    assert rows["overall"] == ["6", "33.3", "9.7-70.0", "29.2", "66.7", "50.0", "50.0", "16.7"]
    assert rows["CT"] == ["4", "50.0", "15.0-85.0", "31.2", "75.0", "75.0", "25.0", "0.0"]
    assert rows["modality"] == rows["question type"] == []
    assert "by modality 25.0, by question type 16.7" in table


def test_each_heading_stands_above_its_column(predictions):
    above, below, overall = summary_table(summarize(predictions)).splitlines()[:3]
    for first, second, value in [
        ("parse", "failures", "50.0"),
        ("well-", "formed", "50.0"),
        ("", "truncated", "16.7"),
        ("", "95 % range", "9.7-70.0"),
    ]:
        end = below.index(second) + len(second)
        assert above[:end].endswith(first)
        assert overall[:end].endswith(value)


def test_tables_are_aligned_and_narrower_than_100_columns(predictions):
    many = predictions * 3000 + [predict(RIGHT, modality="Optical Coherence Tomography, wide")]
    for table in (summary_table(summarize(many)), change_table(*[summarize(many)] * 2)):
        lines = [line for line in table.splitlines() if "." in line[28:] and ":" not in line]
        assert len(lines) == 1 + 3 + 3
        assert len({len(line) for line in lines}) == 1
        assert max(map(len, table.splitlines())) < 100
        assert "," in lines[0]  # 18,001 questions


def test_the_change_is_in_points_of_the_same_slice(predictions):
    before = summarize(predictions)
    after = summarize([*[predict(RIGHT)] * 3, predict(WRONG), *predictions[4:]])
    rows = {
        line[:28].strip(): line[28:].split() for line in change_table(before, after).splitlines()
    }
    assert rows["overall"][:4] == ["6", "33.3", "50.0", "+16.7"]
    assert rows["CT"][:4] == ["4", "50.0", "75.0", "+25.0"]
    assert rows["MRI"][:4] == ["2", "0.0", "0.0", "+0.0"]
    assert change_table(after, before).splitlines()[1].split()[4] == "-16.7"


def test_other_questions_cannot_be_compared(predictions):
    with pytest.raises(ValueError, match="not measured on the same questions"):
        change_table(summarize(predictions), summarize(predictions[:-1]))


@pytest.mark.parametrize("slices", [5, 8, 40])
def test_sample_completions_do_not_meet_one_slice_again_and_again(slices):
    # as the phantoms' 800 rows do, whose modalities alternate
    many = [predict("<answer>B</answer>", modality=f"m{i % slices}") for i in range(800)]
    heads = [sample.splitlines()[0] for sample in sample_completions(many).split("\n\n")]
    assert len(set(heads)) >= 4


def test_sample_completions_are_spread_and_say_right_or_wrong(predictions):
    many = [predict(f"<answer>{'BC'[i % 2]}</answer>", modality=f"m{i}") for i in range(10)]
    # 2 of 10 at half and one and a half golden sections: 0.309 -> 3, 0.927 -> 9
    first, second = sample_completions(many, 2).split("\n\n")
    assert first.splitlines()[0] == "no image (m3, Lesion Grading): wrong, the answer is B"
    assert second.splitlines()[0] == "no image (m9, Lesion Grading): wrong, the answer is B"
    third = sample_completions(many, 3).split("\n\n")[2]  # 2.5 of them: 0.545 -> 5
    assert third.splitlines()[0].startswith("no image (m5")
    right = sample_completions(many[:1])
    assert right.splitlines()[0] == "no image (m0, Lesion Grading): right"
    assert right.splitlines()[1:] == ["  Which?", "  A) W  B) X  C) Y  D) Z", f"  {RIGHT}"]
    assert len(sample_completions(many[:3]).split("\n\n")) == 3
    assert "(truncated)" in sample_completions(predictions[-1:])
    assert "not well-formed" in sample_completions(predictions[-1:])
