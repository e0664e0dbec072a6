"""Open questions as SLAKE, VQA-RAD, MIMIC-CXR-VQA and the hub's triples publish them."""

import json

import pytest

from data.reading.families import RowError, read_row
from data.reading.readers import parse_rows
from tests.data.reading.published_files import published

MEDICAL = {"img_name": "xmlab1/source.jpg", "question": "Which organ is shown?", "answer": "Liver"}
TRIPLE = {"image": "a.png", "question": "what is shown?", "answer": "adenocarcinoma"}


@pytest.mark.parametrize(
    ("name", "forms", "answers", "modalities"),
    [
        (
            "f4_slake.json",
            ["yes_no", "text", "text", "text"],
            ["Yes", "有", "Discs, Lines", "Left"],
            ["CT", "CT", "MRI", "X-Ray"],
        ),
        (
            "f4_vqa_rad.json",
            ["yes_no", "number", "text"],
            ["No", "2", "upper left"],
            3 * ["unknown"],
        ),
        ("f4_mimic_like.json", ["labels", "yes_no"], ["disc, line", "No"], 2 * ["unknown"]),
        ("f5_triples.jsonl", ["yes_no", "text"], ["Yes", "discs"], 2 * ["unknown"]),
    ],
)
def test_made_up_files_are_read_as_they_are_published(tmp_path, name, forms, answers, modalities):
    examples = published(name, tmp_path)
    assert [example.form for example in examples] == forms
    assert [example.answer_text for example in examples] == answers
    assert [example.modality for example in examples] == modalities
    assert [example.question_type for example in examples] == len(forms) * ["unknown"]
    assert all(image.is_file() for example in examples for image in example.images)


def test_what_sorts_rows_stays_in_their_fields_by_its_own_name(tmp_path):
    slake, rad, mimic = (
        published(name, tmp_path)[-1]
        for name in ("f4_slake.json", "f4_vqa_rad.json", "f4_mimic_like.json")
    )
    assert slake.fields["q_lang"] == "en" and slake.fields["answer_type"] == "CLOSED"
    assert slake.fields["location"] == "Lung" and slake.fields["content_type"] == "Position"
    assert rad.fields["phrase_type"] == "test_para" and rad.fields["question_type"] == "POS"
    assert mimic.fields["split"] == "test" and mimic.fields["subject_id"] == "p11"
    assert not {"question", "answer", "img_name", "image_name", "image_path"} & {
        *slake.fields, *rad.fields, *mimic.fields
    }  # fmt: skip


def test_the_answers_type_says_nothing_of_the_form():
    for answer_type in ("OPEN ", "CLOSED", 7, None):
        row = MEDICAL | {"answer_type": answer_type}
        assert read_row(row | {"answer": "Yes"}).form == "yes_no"
        assert read_row(row).form == "text"


@pytest.mark.parametrize("name", ["img_name", "image_name", "image_path"])
def test_the_image_has_the_name_that_its_source_gives_it(name):
    row = {name: "a.png", "question": "Is it?", "answer": ["yes"]}
    content = read_row(row)
    assert (content.images, content.form, content.answer) == (("a.png",), "yes_no", "A")


def test_option_columns_beside_an_answer_are_the_other_family():
    row = {"image_path": "a.png", "question": "Which?", "option_A": "Liver", "option_B": "Lung"}
    content = read_row(row | {"gt_answer": "Lung", "answer": "Lung"})
    assert (content.options, content.answer) == (("Liver", "Lung"), "B")


@pytest.mark.parametrize("answer", ["A", "(b)", "C.", ["D"], ["A", "C"], "<answer> A </answer>"])
def test_a_letter_without_options_is_no_answer(answer):
    for row in (MEDICAL, TRIPLE):
        with pytest.raises(RowError, match=r"\(question\) has no option.*; \(answer\) is a letter"):
            read_row(row | {"answer": answer})


def test_an_image_in_another_field_is_not_kept_with_the_example():
    base64 = "iVBORw0KGgo" + 40 * "AAAA"
    row = TRIPLE | {"thumbnail": base64, "raw": {"bytes": b"x"}, "crops": [base64], "note": "a b"}
    assert dict(read_row(row).fields) == {"note": "a b"}


def test_a_triple_may_have_no_image():
    for row in ({}, {"image": None}, {"image": []}):
        content = read_row({"question": "what pumps blood?", "answer": "the heart"} | row)
        assert (content.images, content.form, content.answer) == ((), "text", "the heart")


@pytest.mark.parametrize("row", [MEDICAL, TRIPLE])
def test_options_in_the_question_make_it_a_choice(row):
    question = "Which organ is shown? A)Liver, B)Lung"
    for answer in ("B", "b", "lung", ["B"], "<answer>B</answer>", "B) Lung"):
        content = read_row(row | {"question": question, "answer": answer})
        assert (content.question, content.options) == ("Which organ is shown?", ("Liver", "Lung"))
        assert (content.form, content.answer) == ("letter", "B")


@pytest.mark.parametrize("row", [MEDICAL, TRIPLE])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": ""}, r"\(answer\) is not|\(answer\) is empty"),
        ({"answer": None}, r"\(answer\) is empty"),
        ({"answer": []}, r"\(answer\) is an empty list"),
        ({"answer": True}, r"\(answer\) is neither a text nor a number"),
        ({"answer": {"text": "liver"}}, r"\(answer\) is neither a text nor a number"),
        ({"answer": ["yes", "no"]}, r"\(answer\) says both yes and no"),
        ({"answer": "word " * 500}, r"\(answer\) .*no answer can be right"),
        ({"answer": 3, "tolerance": "wide"}, r"\(answer\) has tolerance='wide'"),
        ({"answer": "<|image_pad|>"}, "no answer can be right"),
        ({"question": ""}, r"\(question\) is not a text, or an empty one"),
        ({"question": 7}, r"\(question\) is not a text"),
        ({"question": "<image>"}, "is a mark for the image and no question"),
        ({"question": "\n<image>\n"}, "is a mark for the image and no question"),
        ({"question": "Which? A)Liver", "answer": "Liver"}, r"\(question\) has one option"),
        ({"question": "Which? A)Liver, B)Lung", "answer": ["A", "B"]}, r"\(answer\) names 2 "),
        ({"question": "Which? A)Liver, B)Lung", "answer": "C"}, r"\(answer\) is no option"),
        ({"question": "Which? A)Liver, B)Lung", "answer": "B) Liver"}, r"\(answer\) says two thi"),
        ({"question": "Which? A)b, B)a", "answer": "a"}, r"says two things: A is 'b', and"),
        ({"question": "Which? A)x, B)x", "answer": "A"}, "stands under several letters"),
    ],
)
def test_what_cannot_be_asked_is_a_bad_row(row, change, reason):
    with pytest.raises(RowError, match=reason):
        read_row(row | change)


def test_the_languages_official_part_and_patients_survive_the_way_through_a_file(tmp_path):
    path = tmp_path / "slake_test.json"
    path.write_text(json.dumps([MEDICAL | {"triple": ["a", "_"], "q_lang": "en", "qid": 4}]))
    (example,), bad_rows = parse_rows(path, tmp_path)
    assert not bad_rows
    assert dict(example.fields) == {"triple": ["a", "_"], "q_lang": "en", "qid": 4}


def test_a_row_nested_deeply_or_of_many_fields_is_read_all_the_same():
    nested: list = []
    for _ in range(50_000):
        nested = [nested]
    many = {f"field {number}": number for number in range(20_000)}
    content = read_row(MEDICAL | many | {"triple": nested})
    assert len(content.fields) == 20_001
