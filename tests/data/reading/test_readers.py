"""Published files become examples; what is wrong with a file or row is said, never guessed at."""

import json
import os
from pathlib import Path

import pytest

from data import VQAExample, load_examples
from data.reading.labels import modality_label, question_type_label, subject_of
from data.reading.readers import read_examples

MED_R1 = {
    "image": "Images/BreakHis/a.png",
    "problem": "What is shown? A)Skin, B)Blood, C)Bone",
    "solution": "<answer> C </answer>",
}
OMNIMEDVQA = {
    "dataset": "ACRIMA",
    "question_id": "ACRIMA_0000",
    "question_type": "Modality Recognition",
    "question": "What imaging technique was used?",
    "gt_answer": "Fundus imaging",
    "image_path": "Images/ACRIMA/Im553.png",
    "option_A": "PET scan",
    "option_B": "CT scan",
    "option_C": "Fundus imaging",
    "option_D": "Ultrasound",
    "modality_type": "Fundus Photography",
}


def without(row: dict, *fields: str) -> dict:
    return {name: value for name, value in row.items() if name not in fields}


@pytest.fixture
def write(tmp_path):
    """Write rows (or any text) into a file and return its path."""

    def write_rows(rows, name: str = "CT_train.json") -> Path:
        path = tmp_path / name
        path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
        return path

    return write_rows


def test_a_med_r1_row_becomes_an_example(write, tmp_path):
    path = write([MED_R1], "Microscopy Images_test.json")
    assert load_examples(path, tmp_path) == [
        VQAExample(
            id="Microscopy Images_test-0",
            images=(tmp_path / "Images/BreakHis/a.png",),
            question="What is shown?",
            options=("Skin", "Blood", "Bone"),
            answer="C",
            modality="Microscopy",
            question_type="unknown",
            dataset="BreakHis",
            source=str(path),
        )
    ]


def test_an_omnimedvqa_row_becomes_an_example(write, tmp_path):
    path = write([OMNIMEDVQA], "ACRIMA.json")
    assert load_examples(path, tmp_path) == [
        VQAExample(
            id="ACRIMA-0",
            images=(tmp_path / "Images/ACRIMA/Im553.png",),
            question="What imaging technique was used?",
            options=("PET scan", "CT scan", "Fundus imaging", "Ultrasound"),
            answer="C",
            modality="Fundus",
            question_type="Modality Recognition",
            dataset="ACRIMA",
            source=str(path),
        )
    ]


def test_the_two_formats_may_stand_in_one_file(write, tmp_path):
    examples = load_examples(write([MED_R1, OMNIMEDVQA]), tmp_path)
    assert [example.id for example in examples] == ["CT_train-0", "CT_train-1"]
    assert [example.modality for example in examples] == [
        "CT",
        "Fundus",
    ]  # the row's own comes first


def test_an_image_may_be_a_list_of_paths(write, tmp_path):
    row = MED_R1 | {"image": ["Images/a/1.png", "Images/a/2.png"]}
    (example,) = load_examples(write([row]), tmp_path)
    assert example.images == (tmp_path / "Images/a/1.png", tmp_path / "Images/a/2.png")


@pytest.mark.parametrize(
    "row", [without(MED_R1, "image"), *(MED_R1 | {"image": n} for n in (None, [], ""))]
)
def test_a_question_may_have_no_image(write, tmp_path, row):
    (example,) = load_examples(write([row]), tmp_path)
    assert (example.images, example.dataset) == ((), "unknown")


def test_fields_that_say_nothing_of_the_question_stay_with_the_example(write, tmp_path):
    row = OMNIMEDVQA | {"split": "test", "age": 7}
    (example,) = load_examples(write([row]), tmp_path)
    kept = ("dataset", "question_id", "question_type", "modality_type", "split", "age")
    assert example.fields == {name: row[name] for name in kept}


def test_the_question_type_comes_from_the_files_name(write, tmp_path):
    (example,) = load_examples(write([MED_R1], "Lesion Grading_train.json"), tmp_path)
    assert (example.modality, example.question_type) == ("unknown", "Lesion Grading")


@pytest.mark.parametrize(
    ("image", "field", "dataset"),
    [
        ("Images/Covid CT/a.png", "elsewhere", "Covid CT"),  # the folder comes before the field
        ("pictures/a.png", "ACRIMA", "ACRIMA"),
        ("pictures/a.png", None, "unknown"),
        ("Images/a.png", None, "unknown"),
        ("mirror/Images/MIAS/x/a.png", None, "MIAS"),
    ],
)
def test_the_data_set_is_the_folder_after_images_else_the_field(
    write, tmp_path, image, field, dataset
):
    row = MED_R1 | {"image": image, "dataset": field}
    (example,) = load_examples(write([row]), tmp_path)
    assert example.dataset == dataset


@pytest.mark.parametrize(
    ("spelling", "modality"),
    [
        ("CT(Computed Tomography)", "CT"),
        ("Dermoscopy", "Dermoscopy"),
        ("Fundus Photography", "Fundus"),
        ("MR (Mag-netic Resonance Imaging)", "MRI"),
        ("MRI", "MRI"),
        ("Microscopy Images", "Microscopy"),
        ("OCT (Optical Coherence Tomography", "OCT"),
        ("OCT (Optical Coherence Tomography)", "OCT"),
        ("X-Ray", "X-Ray"),
        ("ultrasound", "Ultrasound"),
        ("CT", "CT"),
        ("mr", "MRI"),
        ("der", "Dermoscopy"),
        ("FP", "Fundus"),
        ("fundus", "Fundus"),
        ("OCT", "OCT"),
        ("Microscopy", "Microscopy"),
        ("US", "Ultrasound"),
        ("Endoscopy", "unknown"),
        ("", "unknown"),
    ],
)
def test_published_spellings_name_one_modality(spelling, modality):
    assert modality_label(spelling) == modality
    assert modality_label(subject_of(f"{spelling}_train")) == modality


def test_question_types_are_known_whatever_their_case():
    assert question_type_label("other biological attributes") == "Other Biological Attributes"
    assert question_type_label("Counting") == "unknown"


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("mri", ("CT", "ct", "MRI"), "C"),
        (" MRI ", ("CT", "PET", "MRI"), "C"),
    ],
)
def test_an_answer_is_matched_ignoring_case(write, tmp_path, answer, options, letter):
    row = {"image_path": "a.png", "question": "Which?", "gt_answer": answer}
    row |= {f"option_{name}": text for name, text in zip("ABC", options, strict=True)}
    (example,) = load_examples(write([row]), tmp_path)
    assert example.answer == letter


@pytest.mark.parametrize(
    ("row", "value", "reason"),
    [
        (["image"], "['image']", "is not an object with named fields"),
        (without(MED_R1, "problem"), "['image', 'solution']", "fields of no published format"),
        (MED_R1 | {"problem": "What?"}, "'What?'", r"(problem) has no option 'A)'"),
        (MED_R1 | {"problem": ["x"]}, "['x']", "(problem) is not a text"),
        (MED_R1 | {"solution": "<answer> E </answer>"}, "<answer> E </answer>", "options A to C"),
        (MED_R1 | {"solution": "<answer> Skull </answer>"}, "Skull", "no option: the row has"),
        (MED_R1 | {"solution": None}, "None", "(solution) is empty: write the right option"),
        (MED_R1 | {"image": " "}, "' '", "(image) is neither a path nor a list of paths"),
        (MED_R1 | {"image": 3}, "3", "(image) is neither a path nor a list of paths"),
        (MED_R1 | {"image": ["a.png", ""]}, "['a.png', '']", "(image) is neither"),
        (MED_R1 | {"image": "a\0.png"}, r"'a\x00.png'", "is not a path"),
        (MED_R1 | {"image": "../a.png"}, "'../a.png'", "leads outside the image root"),
        (MED_R1 | {"image": "a" * 999}, "aaa", "is not a path"),
        (MED_R1 | {"image": "\ud800.png"}, r"\ud800", "not valid Unicode"),
        (MED_R1 | {"dataset": 3}, "3", "(dataset) is not a text"),
        (MED_R1 | {"problem": "<|image_pad|>? A)x, B)y, C)z"}, "image_pad", "as a special token"),
        (MED_R1 | {"problem": "\ud800? A)x, B)y, C)z"}, r"\ud800", "not valid Unicode"),
        (OMNIMEDVQA | {"gt_answer": "Fundus"}, "'Fundus'", "(gt_answer) is no option"),
        (
            OMNIMEDVQA | {"option_A": "Fundus imaging"},
            "'Fundus imaging'",
            "equals 2 of the options",
        ),
        (OMNIMEDVQA | {"gt_answer": "CT SCAN", "option_A": "ct scan"}, "'CT SCAN'", "equals 2 of"),
        (OMNIMEDVQA | {"option_A": "Fundus imaging."}, "'Fundus imaging'", "equals 2 of"),
        (OMNIMEDVQA | {"option_B": "fundus  Imaging"}, "'Fundus imaging'", "letters (B, C)"),
        (MED_R1 | {"problem": "Which? A)CT, B)MRI, C) ct."}, "C </answer>", "letters (A, C)"),
        (MED_R1 | {"problem": "Which? A)CT, B)CT, C)CT"}, "C </answer>", "equals 3 of the options"),
        (
            without(OMNIMEDVQA, "option_B"),
            "'option_C'",
            "option_B before the last of them is missing",
        ),
        (without(OMNIMEDVQA, "option_A", "option_B", "option_C", "option_D"), "[]", "too few"),
        (OMNIMEDVQA | {"option_B": " "}, "'option_D'", "option_B before the last of them is empty"),
        (
            OMNIMEDVQA | {"option_B": float("nan")},
            "'option_D'",
            "option_B before the last of them is empty",
        ),
        (OMNIMEDVQA | {"option_AA": "x"}, "['option_AA']", "name no option: they must be option_A"),
        (OMNIMEDVQA | {"option_e": "x"}, "['option_e']", "name no option"),
        (OMNIMEDVQA | {"option_1": "x"}, "['option_1']", "name no option"),
        (OMNIMEDVQA | {"gt_answer": "", "option_D": ""}, "''", "(gt_answer) is empty: write"),
        (OMNIMEDVQA | {"gt_answer": "C"}, "'C'", "(gt_answer) is no option: the row has"),
        (MED_R1 | {"problem": "What <image> is it? A)x, B)y, C)z"}, "<image>", "read as a word"),
        (
            MED_R1 | {"problem": "<image><image> Is it? A)x, B)y, C)z"},
            "<image>",
            "2 marks for 1 image",
        ),
        (MED_R1 | {"problem": "<img>x.png</img> Is it? A)x, B)y, C)z"}, "</img>", "read as a word"),
        (MED_R1 | {"problem": "Is it <ImageHere>? A)x, B)y, C)z"}, "<ImageHere>", "read as a word"),
        (MED_R1 | {"problem": "Is it? A)<image>, B)y, C)z"}, "<image>", "read as a word"),
        (
            OMNIMEDVQA | {"question": "<image>\n"},
            "<image>",
            "is a mark for the image and no question",
        ),
        (MED_R1 | {"problem": "<image> A)x, B)y, C)z"}, "A)x", "has options but no question"),
        (OMNIMEDVQA | {"question": ""}, "''", "(question) is not a text, or an empty one"),
    ],
)
def test_a_bad_row_is_reported_with_file_row_value_and_reason(write, tmp_path, row, value, reason):
    path = write([MED_R1, row])
    with pytest.raises(ValueError) as caught:
        load_examples(path, tmp_path)
    message = str(caught.value)
    assert f"1 of 2 rows of {path} cannot be used; correct them, or" in message
    assert "--skip-bad-rows" in message
    assert f"{path}, row 1: " in message
    assert value in message
    assert reason in message
    message.encode()  # it can be printed, whatever the row held


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *(("Crohn's disease", "Crohn\u2019s disease", True), ("X-ray", "x\u2013ray", True)),
        *(("CT", "\uff23\uff34", True), ("CT", "CT\u200b", True), ("B\u00ad-scan", "b-scan", True)),
        *(("10\u2075", "105", False), ("X-ray", "X ray", False), ("\u03b2", "\u00df", False)),
    ],
)
def test_typographic_forms_make_no_other_option(write, tmp_path, one, other, same):
    row = MED_R1 | {"problem": f"Which? A)MRI, B){one}, C){other}"}  # C is right
    bad_rows = read_examples(write([row, MED_R1]), tmp_path, skip_bad_rows=True)[1]
    assert ["several letters" in bad_row.reason for bad_row in bad_rows] == [True] * same


def test_a_wrong_option_that_stands_twice_is_fair_and_kept(write, tmp_path):
    row = MED_R1 | {"problem": "Which? A)MRI, B)mri., C)CT"}
    (example,) = load_examples(write([row]), tmp_path)
    assert (example.options, example.answer) == (("MRI", "mri.", "CT"), "C")


def test_rows_whose_right_option_stands_twice_can_be_left_out(write, tmp_path):
    twice = MED_R1 | {"problem": "Which? A)CT, B)MRI, C)CT"}
    examples, bad_rows = read_examples(write([twice, MED_R1]), tmp_path, skip_bad_rows=True)
    assert [example.id for example in examples] == ["CT_train-1"]
    assert [bad.row for bad in bad_rows] == [0]


def test_the_first_bad_rows_are_named_and_all_are_counted(write, tmp_path):
    rows = [MED_R1] + [MED_R1 | {"solution": f"<answer> {n} </answer>"} for n in range(12)]
    with pytest.raises(ValueError, match="12 of 13 rows") as caught:
        load_examples(write(rows), tmp_path)
    lines = str(caught.value).splitlines()
    assert [f"row {number}: " in lines[number] for number in range(1, 6)] == [True] * 5
    assert lines[6:] == ["  - and 7 more: --show-bad-rows FILE writes all of them, whole"]


def test_skipped_rows_are_counted_and_rename_no_other(write, tmp_path):
    path = write([MED_R1, {"image": "x"}, MED_R1 | {"solution": "D"}, OMNIMEDVQA])
    examples, bad_rows = read_examples(path, tmp_path, skip_bad_rows=True)
    assert [example.id for example in examples] == ["CT_train-0", "CT_train-3"]
    assert [(bad.file, bad.row) for bad in bad_rows] == [(str(path), 1), (str(path), 2)]
    assert load_examples(path, tmp_path, skip_bad_rows=True) == examples


def test_a_file_of_bad_rows_stops_even_when_they_are_skipped(write, tmp_path):
    with pytest.raises(ValueError, match=r"2 of 2 rows .* check that it is the right file:"):
        read_examples(write([{"a": 1}, {"a": 2}]), tmp_path, skip_bad_rows=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: a JSON list, JSON Lines, CSV, TSV and parquet are read"),
        ("{", "is not JSON"),
        ('{"a": 1} {"a": 2}', r"is not JSON \(Extra data.*one JSON list, or JSON Lines"),
        ("[" * 100_000, "is not JSON"),
        ('{"image":\n"a"}', r"holds a JSON dict, not a list: put its rows in \[\]"),
        ("3", "holds a JSON int, not a list"),
        ("[]", "is an empty list"),
    ],
)
def test_a_file_that_holds_no_rows_is_named(write, tmp_path, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_examples(path, tmp_path)
    assert str(path) in str(caught.value)


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes('["\xe9"]'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.json is no text \(byte 2"):
        load_examples(path, tmp_path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "CT_test.json"
    path.write_text(json.dumps([MED_R1]), encoding="utf-8-sig")
    assert len(load_examples(path, tmp_path)) == 1


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json does not exist: check the path"):
        load_examples(tmp_path / "nowhere.json", tmp_path)
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        load_examples(tmp_path, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_named(write, tmp_path):
    path = write([MED_R1])
    path.chmod(0)
    with pytest.raises(ValueError, match="cannot be read: Permission denied"):
        load_examples(path, tmp_path)


OUTSIDE = {
    **dict.fromkeys(("../x.png", "/etc/passwd", "Images/../../x.png", ".."), "leads outside"),
    **dict.fromkeys(("..\\x.png", "Images\\..\\..\\x.png", "\\\\host\\x.png"), "leads outside"),
    **dict.fromkeys(("C:\\Images\\x.png", "d:x.png", "C:/x.png"), "names a drive or a home folder"),
    **dict.fromkeys(("~/x.png", "~root/x.png", "~"), "names a drive or a home folder"),
    **dict.fromkeys(("https://host/x.png", "file:///x.png"), "address"),
    "data:image/png;base64,AA": "is broken base64",
    "/".join(["a" * 200] * 30): "is not a path: it is longer",
}


@pytest.mark.parametrize(("image", "message"), OUTSIDE.items())
def test_no_path_leads_out_of_the_image_root(write, tmp_path, image, message):
    root = tmp_path / "root"
    (root / "Images").mkdir(parents=True)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        load_examples(write([MED_R1 | {"image": image}]), root)


def test_links_of_the_users_own_root_are_followed_and_dots_are_not_taken_behind_them(
    write, tmp_path
):
    """A hub cache, a linked folder, links to links, and a root that is one itself."""
    disk, root = tmp_path / "disk" / "omni", tmp_path / "real"
    disk.mkdir(parents=True)
    (tmp_path / "disk" / "x.png").write_bytes(b"outside")
    (disk / "x.png").write_bytes(b"folder")
    (tmp_path / "blob").write_bytes(b"file")
    (root / "deep").mkdir(parents=True)
    (root / "x.png").write_bytes(b"inside")
    (root / "Images").symlink_to(disk)
    (root / "deep" / "again").symlink_to(root / "Images")
    (root / "deep" / "blob.png").symlink_to("../../blob")
    (tmp_path / "root").symlink_to(root)
    images = {
        "Images/x.png": b"folder",
        "deep/again/x.png": b"folder",
        "deep/blob.png": b"file",
        "Images/../x.png": b"inside",  # and not the neighbour of what Images links to
        str(tmp_path / "root" / "deep" / "blob.png"): b"file",
        str(root / "Images" / "x.png"): b"folder",
    }
    examples = load_examples(
        write([MED_R1 | {"image": image} for image in images]), tmp_path / "root"
    )
    assert [example.images[0].read_bytes() for example in examples] == [*images.values()]


def test_a_path_that_windows_wrote_is_read(write, tmp_path):
    (tmp_path / "Images" / "Mura").mkdir(parents=True)
    (tmp_path / "Images" / "Mura" / "x.png").write_bytes(b"found")
    (example,) = load_examples(write([MED_R1 | {"image": "Images\\Mura\\x.png"}]), tmp_path)
    assert (example.images[0].read_bytes(), example.dataset) == (b"found", "Mura")


def test_marks_of_other_trainers_before_the_question_are_where_images_stand(write, tmp_path):
    rows = [
        MED_R1 | {"problem": "<image>\nWhat is it? A)x, B)y, C)z"},
        MED_R1 | {"problem": "<image></image>What is it? A)x, B)y, C)z"},
        MED_R1 | {"problem": "<image_placeholder>\nWhat is it? A)x, B)y, C)z"},
        MED_R1 | {"problem": "<image> <IMAGE>What? A)x, B)y, C)z", "image": ["a.png", "b.png"]},
        OMNIMEDVQA | {"question": "<image_1>What is it?"},
    ]
    questions = [example.question for example in load_examples(write(rows), tmp_path)]
    assert questions == [*3 * ["What is it?"], "What?", "What is it?"]


@pytest.mark.parametrize("empty", ["", "  ", None, float("nan")])
def test_empty_options_behind_the_last_are_none(write, tmp_path, empty):
    row = OMNIMEDVQA | {"option_C": "Fundus imaging", "option_D": empty, "option_E": empty}
    (example,) = load_examples(write([row]), tmp_path)
    assert example.options == ("PET scan", "CT scan", "Fundus imaging")


@pytest.mark.parametrize("image", ["Images/../Images/x.png", "in/x.png", "link.png", "absolute"])
def test_a_path_that_stays_inside_is_taken(write, tmp_path, image):
    root = tmp_path / "root"
    (root / "Images").mkdir(parents=True)
    (root / "Images" / "x.png").write_bytes(b"found")
    (root / "in").symlink_to(root / "Images")
    (root / "link.png").symlink_to("Images/x.png")
    image = str(root / "Images/x.png") if image == "absolute" else image
    (example,) = load_examples(write([MED_R1 | {"image": image}]), root)
    assert example.images[0].read_bytes() == b"found"
