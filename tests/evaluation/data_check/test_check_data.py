"""--check-data as a user meets it: all that is wrong with the rows is said at once."""

import json
from pathlib import Path

import pytest
from PIL import Image

import evaluate
import train

pytestmark = pytest.mark.command


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with pictures in Images/Set, which has to stay as it is."""
    folder = tmp_path / "Images" / "Set"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (30 + number, 20), (number, 90, 10)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def row(image=0, question="Which organ is shown?", answer="A", options=("Lung", "Liver")):
    inline = ", ".join(f"{letter}){text}" for letter, text in zip("ABCD", options, strict=False))
    problem, solution = f"{question} {inline}", f"<answer> {answer} </answer>"
    return {"image": f"Images/Set/{image}.png", "problem": problem, "solution": solution}


def write(folder, name, *rows):
    (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return name


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def checked(command, *flags, capsys):
    status = command(["--check-data", "--model", "tiny", "--image-root", ".", *flags])
    printed = [text.replace(f"{Path.cwd()}/", "") for text in capsys.readouterr()]
    assert "Traceback" not in "".join(printed)
    return status, printed[0], " ".join(printed[1].split())


def test_good_rows_are_counted_and_shown_as_the_model_sees_them(here, capsys):
    write(here, "CT_train.json", *(row(n % 3, f"Which {n}?") for n in range(5)))
    write(here, "CT_test.json", row(3), row(0, "Which 0?"))
    before = files(here)
    flags = ("--train-json", "CT_train.json", "--eval-json", "CT_test.json", "--eval-limit", "1")
    status, out, err = checked(train.main, *flags, capsys=capsys)
    assert (status, err) == (0, "") and files(here) == before
    assert "train: 5 rows of CT_train.json\n" in out
    assert "eval: 2 rows of CT_test.json, a sample of 1 is asked" in out
    assert "file CT_train.json: 5 rows\n" in out and "answered by: letter" in out
    assert "modality: CT 5" in out and "data set: Set 5" in out and "published form: " in out
    assert "2 options each" in out and "1 image each" in out and "no row stands twice" in out
    assert "of 5 rows; with 24 of completion at most" in out and "of 2 rows; with" in out
    assert "1 of 2 rows of eval show an image of train, 1 with the same question" in out
    assert "The first 3 rows of train as the model sees them" in out
    assert "The first 2 rows of eval as the model sees them" in out
    shown = "image Images/Set/1.png: 31 x 20 pixels, seen as 84 x 84, 9 visual tokens"
    assert shown in out
    assert (
        "    | <|im_start|>user\n    | <|vision_start|><|image_pad|><|vision_end|>Which 0?" in out
    )
    assert "    | A) Lung\n" in out and "key: A (Lung), as letter" in out
    assert out.endswith("data checked: nothing was written\n")


def test_missing_images_are_all_counted_and_the_data_set_is_named(here, capsys):
    write(here, "train.json", row(0), *(row(n) for n in range(4, 13)))
    flags = ("--train-json", "train.json", "--show-bad-rows", "bad.jsonl")
    status, out, err = checked(train.main, *flags, capsys=capsys)
    assert status == 2
    assert "train: 1 rows of train.json, 9 bad ones beside them" in out
    names = ", ".join(f"Images/Set/{n}.png" for n in range(4, 9))
    assert f"9 image files are missing: {names}, ...\n" in out
    assert "OmniMedVQA, and Med-R1's splits of it: hub data set foreverbeliever/OmniMedVQA" in out
    assert "The first 1 rows of train" in out  # what can be shown is
    assert err.startswith("error: 9 of 10 rows of train.json cannot be used; correct them")
    assert "9 of 10 image files are missing: is --image-root the folder" in err
    assert "and 4 more: --show-bad-rows FILE" in err
    assert len((here / "bad.jsonl").read_text().splitlines()) == 9


def test_a_file_of_which_no_row_is_left_is_described_as_well(here, capsys):
    write(here, "train.json", row(7), row(8, answer="F"))
    status, out, err = checked(train.main, "--train-json", "train.json", capsys=capsys)
    assert status == 2 and "no row is left to use" in err
    assert "train: 0 rows of train.json, 2 bad ones beside them" in out
    assert "1 image files are missing: Images/Set/7.png" in out and "no prompt was counted" in out


def test_one_row_that_is_too_long_is_named_with_what_to_change(here, capsys):
    long = row(1, "word " * 2500 + "?")
    write(here, "train.json", row(0), long, row(2))
    status, out, err = checked(train.main, "--train-json", "train.json", capsys=capsys)
    assert status == 2
    assert "1 rows do not fit: the longest is over it by itself" in out
    assert "of 3 rows; with 24 of completion" in out  # the long one among them
    assert "train.json, row 1: " in err and "lower --max-completion-tokens or --image-size" in err
    # what fits by itself needs a shorter completion, and is told which
    write(here, "train.json", row(0), row(2))
    flags = ("--train-json", "train.json", "--max-completion-tokens", "2000")
    status, out, err = checked(train.main, *flags, capsys=capsys)
    assert status == 2 and "2 rows do not fit: all fit with --max-completion-tokens 19" in out
    assert "2 of 2 rows of train.json cannot be used" in err


def test_rows_that_stand_twice_are_told_with_their_keys(here, capsys):
    rows = [row(0), row(0, answer="B", options=("Liver", "Lung")), row(0, answer="B"), row(1)]
    write(here, "train.json", *rows)
    status, out, _ = checked(train.main, "--train-json", "train.json", capsys=capsys)
    assert status == 0
    asks = "1 rows ask an earlier row's question about its images, with"
    assert f"{asks} its key: train-1 that of train-0" in out
    assert f"{asks} another key: train-2 that of train-0" in out


def test_hostile_words_are_shown_and_not_obeyed(here, capsys):
    write(here, "train.json", row(0, "Which \x1b[2J\u202e organ?", options=("Lu\x9bng", "b")))
    status, out, _ = checked(train.main, "--train-json", "train.json", capsys=capsys)
    assert status == 0 and r"Which \x1b[2J\u202e organ?" in out and r"A (Lu\x9bng)" in out
    assert not any(sign in out for sign in ("\x1b", "\u202e", "\x9b"))


def test_an_evaluation_is_checked_in_the_same_way(here, capsys):
    write(here, "CT_test.json", row(0), row(1), row(9))
    before = files(here)
    flags = ("--json", "CT_test.json", "--limit", "1")
    status, out, err = checked(evaluate.main, *flags, capsys=capsys)
    assert status == 2 and "1 of 3 rows of CT_test.json cannot be used" in err
    assert "eval: 2 rows of CT_test.json, 1 bad ones beside them, a sample of 1 is asked" in out
    status, out, err = checked(evaluate.main, *flags, "--skip-bad-rows", capsys=capsys)
    assert (status, err) == (0, "") and "The first 2 rows of eval" in out
    assert files(here) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--train-json", "no.json"], "no.json"),
        (["--train-json", "train.json", "--dry-run"], "give one of the two"),
        (["--train-json", "train.json", "--rewards", "acuracy"], "acuracy"),
        (["--train-json", "train.json", "--show-bad-rows", "train.json"], "written over"),
    ],
)
def test_what_is_wrong_besides_ends_it_as_it_ends_a_run(here, capsys, flags, said):
    write(here, "train.json", row(0))
    status, _, err = checked(train.main, *flags, capsys=capsys)
    assert status == 2 and said in err
