"""The image-needed variant: worked by hand, then its laws against independent counts."""

import json
from collections import Counter

import pytest
from scipy.stats import chisquare

from data.audit.audited import read_files
from data.examples import MODALITIES, QUESTION_TYPES, UNKNOWN
from data.grouping import row_keys
from data.splits.answers import may_both_be_right, surface, words_of_answer
from data.splits.comparison import compare_priors, mean_priors, priors_comparison
from data.splits.image_needed import (
    ASKED_BEFORE,
    NO_DISTRACTOR,
    NOT_LETTERED,
    ONE_MODALITY,
    YES_NO,
    image_needed,
)
from data.splits.pool import PoolRow, pool_of
from data.splits.published import rewritten_row
from data.splits.tasks import NEUTRAL_QUESTIONS, task_of, tasks_of
from process.tables.text import titled_text
from tests.data.audit_rows import example, row, write_rows


def pool(folder, rows, name="Ultrasound_train"):
    return pool_of(read_files([write_rows(folder / f"{name}.json", rows)], folder)).rows


def variant(rows, seed=0):
    examples = [row.example for row in rows]
    return image_needed(rows, tasks_of(examples)[0], list(map(row_keys, examples)), seed=seed)


def test_an_example_worked_by_hand(tmp_path):
    """Right in data set D, anatomy: liver, spleen, kidney; in E: heart; D's disease: cyst.

    The first and the fourth row show one image, of which Liver and Kidney are right: Spleen alone
    is left to offer. E has no other answer, so its slice gives three. Cyst has nothing beside it.
    """
    rows = pool(
        tmp_path,
        [
            row("Images/D/1.png", "What organ is it?", ["liver", "Colon.", "LUNG"], "A"),
            row("Images/D/2.png", "Which organ?", ["Toe.", " Spleen.  "], "B"),
            row("Images/D/3.png", "What structure is seen?", ["kidney", "Toe"], "A"),
            row("Images/D/1.png", "Which body part?", ["Kidney", "Hair", "Toe"], "A"),
            row("Images/E/1.png", "What organ?", ["Heart", "Toe", "x", "y"], "A"),
            row("Images/D/4.png", "Which disease?", ["Cyst", "Toe"], "A"),
            row("Images/D/5.png", "Is it an organ?", ["Yes", "No"], "A"),
            row("Images/D/6.png", "Which modality is it?", ["ultrasound", "MRI"], "A"),
            row("Images/D/3.png", "Which organ is shown?", ["Kidney.", "Toe"], "A"),
        ],
    )
    found = variant(rows)
    again = {number for number, why in found.dropped.items() if why == ASKED_BEFORE}
    assert len(again) == 1 and again < {2, 8}  # one question now, with the same answer
    first = min({2, 8} - again)
    assert {n: why for n, why in found.dropped.items() if n not in again} == {
        **{5: NO_DISTRACTOR, 6: YES_NO, 7: ONE_MODALITY},
    }
    rewritten = found.examples
    assert sorted(rewritten) == sorted([0, 1, first, 3, 4])
    assert {n: rewritten[n].answer_text for n in rewritten} == {
        **{0: "Liver", 1: "Spleen", first: "Kidney", 3: "Kidney", 4: "Heart"},
    }
    assert sorted(rewritten[0].options) == ["Liver", "Spleen"]
    assert sorted(rewritten[3].options) == ["Kidney", "Spleen"]
    assert sorted(rewritten[4].options) == ["Heart", "Kidney", "Liver", "Spleen"]
    assert (found.fewer_options, found.from_slice) == (2, 1)
    assert {e.question for e in rewritten.values()} == {
        "Which anatomical structure or region does the image show?"
    }


def many(tmp_path, count=600, name="Dermoscopy_train"):
    answers = ["Melanoma"] * 6 + ["Nevus", "nevus.", "Wart", " eczema"]
    rows = [
        row(f"Images/A/{n}.png", f"What diagnosis, {n}?", ["Bad", answers[n % 10], "x.", "y"], "B")
        for n in range(count)
    ]
    return pool(tmp_path, rows, name)


def test_options_are_distinct_and_the_right_one_stays_right(tmp_path):
    rows = many(tmp_path)
    found = variant(rows)
    assert len(found.examples) == len(rows) and found.fewer_options == 0
    for number, new in found.examples.items():
        old = rows[number].example
        assert new.answer_text == surface(old.answer_text)
        assert set(new.options) == {"Melanoma", "Nevus", "Wart", "Eczema"} and len(new.options) == 4
        assert (new.images, new.id, new.dataset) == (old.images, old.id, old.dataset)


def test_nothing_offered_is_right_for_the_same_image(tmp_path):
    """Three rows per image, two of them right answers of one task, in random spellings."""
    names = ["Liver", "spleen.", "Kidney", "Heart", "Aorta ", "PANCREAS gland", "Left kidney"]
    rows = [
        row(
            f"Images/A/{n // 3}.png",
            f"Which organ, {n}?",
            [names[(n * n + n // 3) % 7], "x", "y"],
            "A",
        )
        for n in range(300)
    ]
    rows = pool(tmp_path, rows)
    right = {}
    for r in rows:
        right.setdefault(r.example.images, []).append(r.example.answer_text)
    found = variant(rows)
    assert len(found.examples) > 100
    for new in found.examples.values():
        for option in set(new.options) - {new.answer_text}:
            assert not [true for true in right[new.images] if may_both_be_right(option, true)]


def test_the_right_letter_is_uniform_and_follows_the_seed(tmp_path):
    rows = many(tmp_path)
    letters = [[v.answer for v in variant(rows, seed=s).examples.values()] for s in (0, 1)]
    assert letters[0] != letters[1]
    assert chisquare(list(Counter(letters[0] + letters[1]).values())).pvalue > 0.001
    assert set(letters[0]) == set("ABCD")


def test_distractors_are_as_frequent_as_they_are_right(tmp_path):
    """One distractor beside Pear out of {Apple: 6, Plum: 3, Fig: 1}."""
    answers = ["Apple"] * 6 + ["Plum"] * 3 + ["Fig"] + ["Pear"] * 10
    rows = [
        row(f"Images/A/{n}.png", "Which organ?", [answers[n % 20], "x"], "A") for n in range(2_000)
    ]
    found = variant(pool(tmp_path, rows)).examples.values()
    beside = Counter(
        next(option for option in e.options if option != "Pear")
        for e in found
        if e.answer_text == "Pear"
    )
    assert beside.total() == 1_000
    counts = [beside[name] for name in ("Apple", "Plum", "Fig")]
    assert chisquare(counts, [600, 300, 100]).pvalue > 0.001


def test_content_alone_decides_not_the_order_or_place_of_rows(tmp_path):
    rows = many(tmp_path, 100)

    def texts(ordered, seed=0):
        return {
            (e.images, e.question, e.options, e.answer)
            for e in variant(ordered, seed).examples.values()
        }

    assert texts(rows) == texts(rows[::-1]) != texts(rows, seed=1)
    shifted = [json.loads(json.dumps(r.raw)) for r in rows[50:] + rows[:50]]
    assert texts(pool(tmp_path, shifted, "Dermoscopy_test")) == texts(rows)


def test_modality_questions_stay_where_the_slice_has_several(tmp_path):
    rows = [
        row(f"Images/{text}/{n}.png", "How?", [text, "Toe"], "A")
        for n, text in enumerate(["CT", "MRI", "X-ray"])
    ]
    found = variant(pool(tmp_path, rows, "Modality Recognition_train"))
    assert len(found.examples) == 3 and not found.dropped and found.from_slice == 3
    assert {e.question for e in found.examples.values()} == {"How was the image acquired?"}


def test_no_neutral_question_names_a_modality():
    assert set(NEUTRAL_QUESTIONS) == {*QUESTION_TYPES, UNKNOWN}
    assert len(set(NEUTRAL_QUESTIONS.values())) == len(NEUTRAL_QUESTIONS)
    telling = {"scan", "radiograph", "photo", "slide", "stain", "skin", "eye", "organ", *MODALITIES}
    for question in NEUTRAL_QUESTIONS.values():
        assert not {word.lower() for word in telling} & set(question.lower().strip("?").split())


@pytest.mark.parametrize(
    ("question", "answer", "task"),
    [
        ("What imaging modality was used to capture this image?", "x", "Modality Recognition"),
        ("What can be seen?", "Color fundus photography.", "Modality Recognition"),
        ("Which organ is abnormal?", "Liver", "Disease Diagnosis"),
        ("Is the abnormality in this image benign or malignant?", "Benign", "Lesion Grading"),
        ("Which joint does the bone in the picture come from?", "Knee", "Anatomy Identification"),
        ("What is the shape of cells in this image?", "Round", "Other Biological Attributes"),
        ("What is the quality by the grading system used?", "Bad", "Other Biological Attributes"),
        ("What content appears in this image?", "Liver", UNKNOWN),
    ],
)
def test_a_task_is_guessed_only_where_the_row_does_not_name_it(question, answer, task):
    assert task_of(example(question, [answer, "b"], "A")) == task
    named = example(question, [answer, "b"], "A", question_type="Lesion Grading")
    assert task_of(named) == "Lesion Grading"


def test_rows_of_one_answer_agree_on_the_task():
    rows = [
        *(example("Which organ?", [text, "x"], "A") for text in ("Liver", "liver.", "Spleen")),
        example("Which disease?", ["Liver", "x"], "A"),
        example("What is seen?", ["LIVER", "x"], "A"),
        example("What is seen?", ["Toe", "x"], "A"),
        example("What is seen?", ["Liver", "x"], "A", dataset="another"),
        example("Which disease?", ["Spleen", "x"], "A", dataset="another"),
        example("What is seen?", ["Liver", "x"], "A", modality="CT"),
    ]
    tasks, ways = tasks_of(rows)
    anatomy, disease = QUESTION_TYPES[:2]
    assert tasks == [anatomy] * 5 + [UNKNOWN, anatomy, disease, UNKNOWN]
    assert ways == {"named": 0, "by row": 4, "by answer": 3, UNKNOWN: 2}


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("Benign condition.", "benign image", True),
        ("Tumour", "tumors", True),
        ("COVID-19 pneumonia", "Pneumonia", True),
        ("The lungs appear normal", "Normal lung", True),
        ("There is no abnormality", "Normal", True),
        ("Glaucoma positive", "It's normal, glaucoma negative", False),
        ("Glaucoma", "No glaucoma", False),
        ("Right eye", "Left eye", False),
        ("Stage Ib", "Stage IIIa", False),
    ],
)
def test_what_may_both_be_right(one, other, both):
    assert may_both_be_right(one, other) is may_both_be_right(other, one) is both
    assert words_of_answer(one) and may_both_be_right(one, one.upper())


def test_rows_without_lettered_options_are_not_redrawn_and_are_written_as_published():
    raw = {"image": "a.png", "question": "What?", "answer": "liver", "qid": 3}
    open_row = example("What?", [], "liver", id="x-0", form="text")
    row = PoolRow(open_row, raw, "CT", "0")
    assert image_needed([row], [UNKNOWN], [[("image", "a.png")]], seed=0).dropped == {
        0: NOT_LETTERED
    }
    assert rewritten_row(row, open_row) == {**raw, "original_id": "x-0"}
    yes = example("Is it?", ["Yes", "No"], "B", form="yes_no")
    assert rewritten_row(PoolRow(yes, raw, "CT", "0"), yes)["answer"] == "liver"


def test_without_choices_the_priors_of_options_have_no_number_to_compare():
    rows = [example("What?", [], "liver", form="text")]
    found = compare_priors({"written": {"CT": (rows, rows)}})
    assert found["CT"]["written"] == {
        "n": 1, "chance": None, "lookup": None, "linear ranker": None
    }  # fmt: skip
    assert mean_priors(found)["written"]["lookup"] is None
    assert "-" in titled_text(priors_comparison(found))
