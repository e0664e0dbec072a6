"""Each fact of the audit, counted by hand on a few rows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data.audit.__main__ import main
from data.audit.audited import AuditFile, pairs_of, read_files
from data.audit.facts import file_facts
from data.audit.findings import audit
from data.audit.headlines import headlines
from data.audit.overlap import foreign_rows, path_overlap, patient_overlap
from data.audit.sections import tables_of
from process.tables.text import titled_text
from tests.data.audit.test_hashes import picture
from tests.data.audit_rows import example, row, write_rows

EYES = "Images/Diabetic Retinopathy/0"  # file names give the patient: 10_left.jpeg
TRAIN = [
    row(f"{EYES}/10_left.jpeg", "Eye?", ["healthy", "ill"], "A"),
    row(f"{EYES}/11_left.jpeg", "Eye?", ["healthy", "ill", "Ill", "none"], "A"),
    row("Images/a.png", "What?", ["cat", "dog"], "B"),
    row("Images/a.png", "What?", ["dog", "hen"], "A"),
]
TEST = [
    row(f"{EYES}/10_right.jpeg", "Eye?", ["ill", "healthy"], "B"),  # its patient is in train
    row(f"{EYES}/12_left.jpeg", "Eye?", ["healthy", "ill"], "B"),
    row("Images/./a.png", "Which?", ["cat", "dog", "hen"], "B"),  # its image is
    row("Images/a.png", "What?", ["cat", "dog"], "B"),  # and here the question, too
    row("Images/b.png", "What?", ["dog", "cat"], "B"),
]


@pytest.fixture
def pair(tmp_path):
    write_rows(tmp_path / "train" / "Fundus_train.json", [*TRAIN, {"image": "Images/c.png"}])
    write_rows(tmp_path / "test" / "Fundus_test.json", TEST)
    paths = [tmp_path / "train" / "Fundus_train.json", tmp_path / "test" / "Fundus_test.json"]
    return read_files(paths, tmp_path)


def test_rows_options_and_letters_are_counted(pair):
    facts = file_facts(pair[0])
    assert (facts["rows"], facts["bad_rows"], facts["images"]) == (4, 1, 3)
    assert "row 4" in facts["bad_rows_shown"][0]
    assert facts["option_counts"] == {"2": 3, "4": 1}
    assert facts["right_letters"] == {"A": 3, "B": 1}
    assert facts["chance"] == pytest.approx((3 / 2 + 1 / 4) / 4)
    assert facts["equal_options_rows"] == ["Fundus_train-1"]
    assert facts["right_option_repeated"] == 0  # ill and Ill, but healthy is right
    assert facts["repeated_rows"] == 1
    assert facts["unknown_modality"] == 0
    assert facts["datasets"] == {"Diabetic Retinopathy": 2, "unknown": 2}
    assert (facts["axis"], facts["label"]) == ("modality", "Fundus")


def test_a_right_answer_at_two_letters_is_left_out_and_counted(tmp_path):
    rows = [row("a.png", "Q?", ["Yes", "yes.", "no"], letter) for letter in "ABC"]
    facts = file_facts(read_files([write_rows(tmp_path / "x_test.json", rows)], tmp_path)[0])
    assert (facts["rows"], facts["bad_rows"], facts["right_option_repeated"]) == (1, 2, 2)
    assert facts["equal_options_rows"] == ["x_test-2"]  # the wrong ones are equal: still fair


def test_images_in_train_and_test_are_counted_by_path(pair):
    assert path_overlap(*pair) == {"same_image": 2, "same_question": 1}


def test_patients_in_train_and_test_are_counted_by_data_set(pair):
    overlap = patient_overlap(*pair)
    assert (overlap["readable"], overlap["in_train"]) == (2, 1)
    assert overlap["datasets"] == {
        "Diabetic Retinopathy": {"rows": 2, "readable": 2, "in_train": 1}
    }


def test_files_pair_by_name_wherever_they_lie(pair, tmp_path):
    lone = write_rows(tmp_path / "OCT_train.json", TRAIN)
    files = [*pair, *read_files([lone], tmp_path)]
    assert [(a.name, b.name) for a, b in pairs_of(files)] == [("Fundus_train", "Fundus_test")]


def test_priors_are_fitted_on_train_and_scored_on_test(pair):
    facts = audit(pair)["pairs"]["Fundus_test"]
    # healthy 2/2, ill 0/2, cat 0/1, dog 2/2, hen 0/1: rows 0, 2, 3 right; 1 and 4 wrong
    assert facts["priors"]["lookup"] == {"n": 5, "right": 3, "accuracy": 0.6}
    assert facts["lookup_wrong"] == ["Fundus_test-1", "Fundus_test-4"]
    assert facts["chance"] == pytest.approx((4 / 2 + 1 / 3) / 5)


def test_the_matrix_crosses_every_train_file_with_every_test_file(pair, tmp_path):
    other = [row("Images/z.png", "What?", ["cat", "dog"], "A")]  # the opposite of TRAIN
    files = [*pair, *read_files([write_rows(tmp_path / "CT_train.json", other)], tmp_path)]
    matrix = audit(files)["matrix"]["lookup"]
    # cat 1, dog 0, the rest unseen: row 4 right by cat; rows 0 to 3 by the first of equals or cat
    assert matrix == {"Fundus_test": {"Fundus_train": 0.6, "CT_train": 0.2}}


def test_rows_of_one_axis_in_the_others_train_file_are_found(pair, tmp_path):
    grading = write_rows(tmp_path / "Lesion Grading_train.json", [TEST[4], TEST[1]])
    same_axis = write_rows(tmp_path / "CT_train.json", [row("Images/b.png", "?!", ["x", "y"], "A")])
    files = [*pair, *read_files([grading, same_axis], tmp_path)]
    assert foreign_rows(files, pairs_of(files)) == [
        {
            **{"train": "Lesion Grading_train", "test": "Fundus_test", "across_axes": True},
            **{"n": 5, "same_image": 2, "same_question": 2},
        },
        {
            **{"train": "CT_train", "test": "Fundus_test", "across_axes": False},
            **{"n": 5, "same_image": 1, "same_question": 0},
        },
    ]


@pytest.fixture
def with_images(tmp_path):
    """Four test rows: a copy, a small copy, another picture, and one without a file."""
    train = [row(f"Images/{i}.png", "Q?", ["a", "b"], "A") for i in range(3)]
    names = ("copy.png", "small.png", "new.png", "missing.png")
    test = [row(f"Images/{name}", "Q?", ["a", "b"], "A") for name in names]
    folder = tmp_path / "Images"
    folder.mkdir()
    for i in range(3):
        picture(i).save(folder / f"{i}.png")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    picture(1).resize((100, 100)).save(folder / "small.png")
    picture(9).save(folder / "new.png")
    files = [("CT_train", train), ("CT_test", test)]
    return [write_rows(tmp_path / f"{name}.json", rows) for name, rows in files]


def test_with_images_contents_are_compared(with_images, tmp_path):
    images = audit(read_files(with_images, tmp_path), tmp_path)["pairs"]["CT_test"]["images"]
    counts = {key: images[key] for key in images if key != "near_duplicates_shown"}
    assert counts == {
        **{"same_image": 0, "same_question": 0, "same_content": 1, "near_duplicate": 2},
        **{"found": 6, "missing": 1, "broken": 0},
    }
    shown = images["near_duplicates_shown"]
    assert [(s["test"], s["train"]) for s in shown] == [("Images/small.png", "Images/1.png")]
    assert shown[0]["distance"] <= 4


def test_the_command_writes_json_and_a_page_and_prints_the_tables(with_images, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--image-root", str(tmp_path), "--output-dir", str(out)]
    assert main([*map(str, with_images), *flags]) == 0
    printed = capsys.readouterr().out
    for title in ("Rows", "Options and letters", "Text priors", "Images in train and test"):
        assert f"\n{title}\n" in f"\n{printed}"
    report = json.loads((out / "audit.json").read_text())
    assert report["pairs"]["CT_test"]["images"]["same_content"] == 1
    page = (out / "audit.html").read_text()
    assert "Images/small.png and Images/1.png" in page
    assert "http:" not in page and "https:" not in page  # nothing is fetched
    assert sorted(path.name for path in out.iterdir()) == ["audit.html", "audit.json"]


def test_names_are_text_in_the_page_not_markup(tmp_path):
    rows = [row("a.png", "Q?", ["a", "b"], "A")]
    files = [write_rows(tmp_path / f"<b>_{part}.json", rows) for part in ("train", "test")]
    assert main([*map(str, files), "--output-dir", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "&lt;b&gt;_test" in page
    assert "<b>" not in page


def test_an_earlier_audit_stands_beside(with_images, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    files = list(map(str, with_images))
    assert main([*files, "--output-dir", str(first)]) == 0
    assert main([*files, "--output-dir", str(second), "--beside", str(first)]) == 0
    assert "--beside" in capsys.readouterr().out
    file = first / "audit.json"
    file.write_text("{}")
    assert main([*files, "--output-dir", str(tmp_path / "x"), "--beside", str(file)]) == 2
    assert "is no audit" in capsys.readouterr().err


MISTAKES = {
    "unknown file": (["nowhere_train.json"], "nowhere_train.json does not exist: check the path"),
    "no pair": (["CT_train.json"], "are a pair (CT_train.json): pass NAME_train.json and"),
    "twice": (["CT_train.json", "CT_train.json"], "two files are called CT_train"),
    "no root": (["CT_train.json", "--image-root", "nowhere"], "nowhere is not a folder"),
    "no image": (
        ["CT_train.json", "CT_test.json", "--image-root", "empty"],
        "none of the 7 images",
    ),
    "distance": (["CT_train.json", "--near-distance", "16"], "must be 0 to 15"),
    "output": (["CT_train.json", "--output-dir", "Images"], "Images holds files"),
    "output file": (["CT_train.json", "--output-dir", "CT_test.json"], "CT_test.json is a file"),
    "not JSON": (["broken_train.json"], "is not JSON"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("with_images")
def test_a_mistake_is_one_message_and_status_2(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken_train.json").write_text("[")
    before = sorted(tmp_path.rglob("*"))
    arguments, message = MISTAKES[name]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before  # nothing written


def test_a_full_disk_leaves_nothing_half_written(with_images, tmp_path, capsys, monkeypatch):
    def full(*_arguments, **_keywords):
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out"
    assert main([*map(str, with_images), "--output-dir", str(out)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_picture_that_is_broken_is_counted(with_images, tmp_path):
    (tmp_path / "Images" / "new.png").write_bytes(b"no image")
    images = audit(read_files(with_images, tmp_path), tmp_path)["pairs"]["CT_test"]["images"]
    assert (images["broken"], images["near_duplicate"]) == (1, 2)


def test_files_of_words_alone_have_no_image_to_be_missing(tmp_path):
    rows = [row("", "Which is an organ?", ["CT", "liver"], "B") | {"image": None}]
    files = [write_rows(tmp_path / f"Words_{part}.json", rows) for part in ("train", "test")]
    found = audit(read_files(files, tmp_path), tmp_path)["pairs"]["Words_test"]["images"]
    assert found["same_image"] == found["near_duplicate"] == found["missing"] == 0


def test_every_finding_has_its_sentence_and_its_table(tmp_path, capsys):
    eye = f"{EYES}/10_left.jpeg"
    fundus = {
        "train": [
            row(eye, "Eye?", ["healthy", "ill"], "A"),
            row("Images/a.png", "What?", ["cat", "dog"], "B"),
        ],
        "test": [
            row(f"{EYES}/10_right.jpeg", "Eye?", ["healthy", "ill"], "A"),
            row("Images/b.png", "What?", ["hen", "Hen", "dog"], "C"),
            row("Images/b.png", "Which?", ["no", "yes", "Yes"], "B"),  # right at two letters
        ],
    }
    grading = {
        "train": [row("Images/b.png", "What?", ["hen", "Hen", "dog"], "C")],
        "test": [row("Images/a.png", "How?", ["mild", "severe"], "A")],
    }
    files = [
        write_rows(tmp_path / f"{name}_{part}.json", rows)
        for name, parts in (("Fundus", fundus), ("Lesion Grading", grading))
        for part, rows in parts.items()
    ]
    files.append(write_rows(tmp_path / "CT_train.json", grading["test"]))
    assert main([*map(str, files), "--output-dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    sentences = " ".join(lines)
    for sentence in (
        "of 1 whose file name gives a patient, 1 (100.0 %) have theirs in train",
        "3 times a test row's image is in a train file of the other axis",
        "2 rows hold two wrong options that are one text",
        "1 rows cannot be used, and were left out",
        "in 1 of them the right option stands twice",
        "without a partner, so only in part looked at: CT_train",
    ):
        assert sentence in sentences, sentence
    for title in ("Text priors across files: lookup", "Patients in train and test"):
        assert title in lines
    # Fundus' test row 1 is the grading's only train row; its image is that row's
    assert "Fundus in Lesion Grading yes 2 1 (50.0 %) 1 (50.0 %)" in lines
    assert "Diabetic Retinopathy 1 1 1 (100.0 %)" in lines


def test_the_embedded_data_is_in_no_file(tmp_path, capsys):
    assert main(["phantoms:CT", "--output-dir", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: phantoms:CT is the embedded data, which is in no file: write it")
    assert not (tmp_path / "out").exists()


def test_a_file_of_all_forms_is_counted_by_form_and_has_no_chance(tmp_path):
    def file(name, examples):
        return AuditFile(
            tmp_path / f"{name}.json", "CT", name[3:], examples,
            [tuple(item.image_names) for item in examples], [], "0" * 64,
        )  # fmt: skip

    image, text_only = (Path("a.png"),), {"images": ()}
    train = [
        example("Which?", ["cat", "dog"], "A", id="r-0", images=image),
        example("Is it?", ["Yes", "No"], "B", id="r-1", form="yes_no"),
        example("What?", [], "liver", id="r-2", form="text", **text_only),
        example("How many?", [], "2", id="r-3", form="number"),
    ]
    test = [replace(item, images=(Path("b.png"),) if item.images else ()) for item in train]
    files = [file("CT_train", train), file("CT_test", test)]
    facts = file_facts(files[0])
    assert facts["forms"] == {"letter": 1, "number": 1, "text": 1, "yes_no": 1}
    assert facts["option_counts"] == {"2": 1} and facts["right_letters"] == {"A": 1}
    assert facts["chance"] is None
    assert path_overlap(*files) == {"same_image": 0, "same_question": 0}
    report = audit(files)
    pair = report["pairs"]["CT_test"]
    assert pair["priors"]["question majority"] == {"n": 4, "right": 4, "accuracy": 1.0}
    assert pair["priors"]["lookup"]["n"] == 2 and pair["open"]["n"] == 2
    text = "\n".join(titled_text(table) for table in tables_of(report, report))
    for words in ("yes or no", "nearest question", "there is no chance"):
        assert words in " ".join(text.split())
    (first, *_) = headlines(report)
    assert first.startswith("text alone answers 100.0 % of the test rows: an accuracy in-domain")
    json.dumps(report)
    letters = audit([file("CT_train", train[:1]), file("CT_test", test[:1])])
    assert list(letters["pairs"]["CT_test"]["priors"]) == [
        "lookup", "question majority", "linear ranker"
    ]  # fmt: skip
    assert "forms" not in letters["files"]["CT_test"]


def test_a_file_of_open_questions_alone_has_tables_too(tmp_path):
    rows = [example("What?", [], "liver", id=f"r-{i}", form="text", images=()) for i in range(3)]
    files = [
        AuditFile(tmp_path / f"CT_{part}.json", "CT", part, rows, [()] * 3, [], "0" * 64)
        for part in ("train", "test")
    ]
    report = audit(files)
    assert list(report["matrix"]) == ["question majority", "answer majority", "nearest question"]
    assert report["pairs"]["CT_test"]["lookup_wrong"] == []
    assert "text" in "\n".join(titled_text(table) for table in tables_of(report))
