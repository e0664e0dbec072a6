"""Options that name other options keep their order, wherever options are put in another one."""

import json

import pytest

from data.examples import VQAExample
from data.options import keeps_order, kept_order_note, permute_options, shuffle_options
from data.order import ExampleOrder
from data.reading.readers import load_examples
from data.references import names_options
from data.splits.image_needed import NAMES_OPTIONS, image_needed
from data.splits.pool import PoolRow
from data.splits.tasks import DISEASE
from evaluation.answers.prediction import judge
from evaluation.asking.evaluation_plan import plan_passes, summarize_passes
from evaluation.asking.orders import option_orders, permuted_rows
from evaluation.asking.questions import read_questions, run_template
from evaluation.report.extra_text import extra_table
from grpo.settings.command_line import config_of, train_parser

LETTERS = (
    *("Both A and B", "both a and b", "Both (A) and (B)", "Both 'A' & 'B'", "A and C", "B, D"),
    *("A or B", "Either A or B", "Neither A nor B", "neither A or B.", "A, B and C", "A, B, & C"),
    *("A/B", "A+B+C", "(A) + (C)", "A as well as B", "A but not B", "A, not B", "A and/or B"),
    *("Only B", "B only", "C alone", "Not A", "All except A", "All but C", "None of A, B or C"),
    *("A and B only", "A and B are correct", "B and C are both seen", "Both A and B, but not C"),
    *("Combination of A and B", "A\u00a0and\u00a0B", "ABC", "ABD", "Both A and B viruses"),
    *("A to C", "A-C", "A through D", "B > A", "A und B", "A plus B", "A plus B and C"),
    *("Option A", "Options B and C", "Choice (c)", "Answer B", "Same as option B"),
)
PLACES = (
    *("All of the above", "ALL OF THE ABOVE", "all the above.", "All above", "None of the above"),
    *("None of the above findings", "None of the above options is right", "Both of the above"),
    *("Any two of the above", "More than one of the above", "The same as above", "As above"),
    *("All of the following", "None of the mentioned diseases", "All of the listed", "the above"),
    *(
        "1 and 2",
        "Both 1 and 2",
        "1, 2 and 3",
        "I and II",
        "Statements 1 and 3",
        "The first option",
    ),
    *("The first two", "1st and 2nd", "Everything above", "Nothing of the above"),
    *("First and second", "the last two options", "Both the first and the second"),
)
SETS = (
    *("All of these", "None of these", "None of them", "Neither of them", "both of these", "Both"),
    *("Neither", "Either", "All", "All three", "All are correct", "None of the options"),
    *("Both options are correct", "None of the other options", "No option is right"),
)
OTHERS = (
    *("Vitamin A", "Hepatitis B", "Hepatitis A.", "Hepatitis A and B", "Influenza A and B"),
    *(
        "Type A and B influenza",
        "Type I and type II",
        "A tumor",
        "A mass in the left lung",
        "A-line",
    ),
    *("B lymphocytes", "B-cell lymphoma", "Protein C and S", "Group A streptococcus", "Plan B"),
    *("A-V block", "A-C joint", "X to Y", "The first two ribs", "Last", "2nd rib"),
    *("C. difficile", "Factor V", "X and Y", "S and Q waves", "T2 and FLAIR", "CT and MRI", "AB"),
    *(
        "AD",
        "CD",
        "O",
        "A",
        "B",
        "1",
        "2",
        "1.5",
        "10 and 20",
        "II",
        "Grade 2 and 3",
        "One",
        "First",
    ),
    *("Both lungs", "Both left and right", "All lobes", "All four chambers", "Right and left"),
    *(
        "Above",
        "Above the knee",
        "Below the diaphragm",
        "A lesion above the diaphragm",
        "Above average",
    ),
    *("None", "Yes", "No", "True", "False", "Right", "Not present", "Absent", "Only one", "Normal"),
)


@pytest.mark.parametrize("text", [*LETTERS, *PLACES, *SETS])
def test_an_option_about_others_is_told(text):
    assert names_options(text, 4)


@pytest.mark.parametrize("text", OTHERS)
def test_an_option_about_the_image_is_not_taken_for_one_about_others(text):
    assert not names_options(text, 4)


def test_letters_and_numbers_beyond_the_options_name_none():
    assert names_options("C and D", 4) and not names_options("C and D", 3)
    assert names_options("3 and 4", 4) and not names_options("3 and 4", 3)


@pytest.mark.slow
def test_no_published_option_names_others(shared):
    """So nothing published changes: 63,489 rows, 2,104 different texts."""
    root = shared / "omnimedvqa_splits"
    files = sorted(root.glob("*/*.json"))
    texts = {t for file in files for row in load_examples(file, root) for t in row.options}
    assert len(texts) == 2_104
    assert not [text for text in texts if names_options(text, 4)]


def row(name, *options, answer="D", **fields):
    return VQAExample(name, ("image.png",), "Which are seen?", options, answer, **fields)


COMBINED = row("CT-1", "Effusion", "Nodule", "Fracture", "Both A and B")
PLAIN = row("CT-2", "Effusion", "Nodule", "Fracture", "Mass")


def test_training_leaves_such_rows_as_they_are_in_every_epoch():
    order = ExampleOrder([COMBINED, PLAIN], seed=0, shuffle_options=True)
    seen = {"CT-1": set(), "CT-2": set()}
    for position in range(2 * 24):
        example = order[position]
        seen[example.id].add(example.options)
        assert example.answer_text == (COMBINED if example.id == "CT-1" else PLAIN).answer_text
    assert seen["CT-1"] == {COMBINED.options}
    assert len(seen["CT-2"]) > 8


@pytest.mark.parametrize("options", [("Cyst", "All of the above"), ("Both", "Cyst", "Mass")])
def test_a_row_of_any_length_keeps_its_order(options):
    example = row("CT-1", *options, answer="A")
    assert all(shuffle_options(example, seed, 0) == example for seed in range(20))
    assert keeps_order(options)


def test_no_caller_can_put_such_options_in_another_order():
    assert permute_options(COMBINED, [0, 1, 2, 3]) == COMBINED
    with pytest.raises(ValueError, match=r"CT-1: its options name each other.*'Both A and B'"):
        permute_options(COMBINED, [1, 0, 2, 3])


def test_other_orders_in_evaluation_leave_such_rows_out_and_count_them():
    assert option_orders(COMBINED, 4, seed=0) == [(0, 1, 2, 3)]
    plan = plan_passes([COMBINED, PLAIN], [], permute_options=3)
    assert [[item.id for item in part.examples] for part in plan.passes[1:]] == [["CT-2"]] * 2
    predictions = [
        judge(
            example,
            "<answer>D</answer>",
            mode="no_think",
            completion_tokens=3,
            truncated=False,
            permutation=None if part.orders is None else part.orders[index],
        )
        for part in plan.passes
        for index, example in enumerate(part.examples)
    ]
    summary = summarize_passes(plan, predictions)
    found = summary["permutations"]
    # D is right for both as they are; only the plain row says how often D stays right
    right = sum(item.correct for item in predictions if item.id == "CT-2")
    assert (found["n"], found["kept_order"], found["answers"]) == (1, 1, 3)
    assert found["accuracy"] == right / 3
    assert "order cannot change" in extra_table(summary)


def test_where_no_row_has_another_order_the_flag_is_refused():
    with pytest.raises(
        ValueError, match="--permute-options: in every row with lettered options these name each"
    ):
        permuted_rows([COMBINED], 2, seed=0)


def test_an_image_needed_split_offers_no_such_answer():
    about = {"dataset": "set", "modality": "CT", "question_type": "Disease Diagnosis"}
    answers = ("Effusion", "Nodule", "Fracture", "Both A and B")
    rows = [
        PoolRow(row(f"CT-{letter}", *answers, answer=letter, **about), {}, "CT", f"key {letter}")
        for letter in "ABCD"
    ]
    images = [[("path", f"{number}.png")] for number in range(4)]
    variant = image_needed(rows, [DISEASE] * 4, images, seed=0)
    assert variant.dropped == {3: NAMES_OPTIONS}
    assert {text for example in variant.examples.values() for text in example.options} == {
        *answers[:3]
    }


@pytest.mark.command
def test_a_run_counts_the_rows_that_keep_their_order(tmp_path, capsys):
    assert kept_order_note([PLAIN]) is None
    row = {"image_path": "a.png", "question": "Which?", "gt_answer": "Both A and B"}
    row |= {"option_A": "Cyst", "option_B": "Mass", "option_C": "Both A and B"}
    (tmp_path / "CT_train.json").write_text(json.dumps([row]))
    data = ["--train-json", str(tmp_path / "CT_train.json"), "--image-root", str(tmp_path)]
    from PIL import Image

    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    given = vars(train_parser().parse_args([*data, "--model", "tiny", "--shuffle-options"]))
    given = {name: value for name, value in given.items() if value is not None}
    config = config_of(given, None)
    template = run_template(config, None)
    read_questions(config, template, None, first_look=lambda _: None)
    assert (
        "train: 1 row keeps the order of options that name each other, the first: CT_train-0,"
        " 'Both A and B'\n" in capsys.readouterr().out
    )
