"""One question about one image: what is printed, and for what it is refused."""

import pytest
from PIL import Image

import evaluate
from evaluation.answers.prediction import judge
from evaluation.ask import answer_text, asked_example

QUESTION = "Which modality was used for this image?"
PROBABILITIES = {"A": 0.6, "B": 0.1, "C": 0.3}


LETTERED = asked_example((), QUESTION, ("CT", "MRI", "light " * 20))


def answered(completion, example=LETTERED, *, truncated=False, probabilities=PROBABILITIES):
    return answer_text(
        judge(
            example,
            completion,
            mode="no_think",
            completion_tokens=5,
            truncated=truncated,
            letter_probabilities=probabilities,
        ),
        bar="#",
    ).splitlines()


def test_each_option_has_a_bar_as_long_as_it_is_probable():
    lines = answered("<answer>A</answer>")
    table = {line[2]: line for line in lines if line[1:2] == " " and line[3:4] == ")"}
    assert {letter: line.count("#") for letter, line in table.items()} == {"A": 18, "B": 3, "C": 9}
    assert "60.0 %" in table["A"]
    assert [letter for letter, line in table.items() if line[0] == ">"] == ["A"]
    assert max(map(len, lines)) < 100


def test_a_hyphenated_word_is_not_cut_in_two():
    lines = answered("<answer>B</answer> " + "long " * 12 + "contrast-enhanced-axial-image")
    assert any("contrast-enhanced-axial-image" in line for line in lines)


@pytest.mark.parametrize(
    ("completion", "choice"),
    [
        ("<answer>B</answer>", "choice: B) MRI"),
        ("So <answer>B</answer>", "choice: B) MRI (not well-formed: scored as wrong)"),
        ("<answer>A or B</answer>", "choice: A) CT (as a forgiving reader would take it"),
        ("hello", "choice: none, the completion names no letter"),
    ],
)
def test_the_choice_says_what_it_counts_for(completion, choice):
    assert answered(completion)[-1].startswith(choice)


@pytest.mark.parametrize(
    ("form", "completion", "choice"),
    [
        (None, "<answer>the liver</answer>", "choice: the liver"),
        (None, "<answer> </answer>", "choice: none, the completion does not give a short answer"),
        ("yes_no", "<answer>no</answer>", "choice: No"),
        (
            "yes_no",
            "<answer>No, it is not</answer>",
            "choice: No (as a forgiving reader would take",
        ),
        ("yes_no", "who knows", "choice: none, the completion does not give yes or no"),
        ("number", "<answer>3</answer>", "choice: 3"),
        ("number", "Well. <answer>3</answer>", "choice: 3 (not well-formed: scored as wrong)"),
    ],
)
def test_an_open_question_has_no_letters_and_its_answer_is_read_by_its_form(
    form, completion, choice
):
    example = asked_example((), "What is it?", (), form)
    lines = answered(completion, example, probabilities=None)
    assert lines[0] == "What is it?" and lines[1:3] == ["", "the model wrote:"]
    assert lines[-1].startswith(choice)


def test_what_nobody_answers_is_asked_with_nothing_said_to_be_right():
    asked = asked_example((), "Is it? ", (), "yes_no", "You look.")
    assert (asked.question, asked.options, asked.system) == ("Is it? ", ("Yes", "No"), "You look.")
    assert asked_example((), "How many?", (), "number").form == "number"


def test_what_is_missing_is_said():
    text = "\n".join(answered("", truncated=True, probabilities=None))
    assert "(nothing)" in text
    assert "cut off: raise --max-completion-tokens" in text
    assert "no <answer> in the completion" in text
    assert "%" not in text


def run(capsys, *arguments):
    status = evaluate.main(["ask", "--model", "tiny", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.command
@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("I;16", "tif"), ("CMYK", "jpg")])
def test_the_embedded_model_answers_about_an_image_of_any_format(tmp_path, capsys, mode, suffix):
    file = tmp_path / f"scan.{suffix}"
    Image.new(mode, (50, 70)).save(file)
    status, out, err = run(
        capsys, "--image", file, "--question", QUESTION, "--options", "CT", "MRI", "X-ray"
    )
    assert (status, err) == (0, "")
    assert f"{file}: {QUESTION}" in out.replace("\n", " ")
    assert all(f"{label}" in out for label in ("A) CT", "B) MRI", "C) X-ray", "the model wrote:"))
    assert "configs/phantoms.toml" in out  # where the settings come from
    assert out.splitlines()[-1].startswith("choice: ")


@pytest.mark.command
def test_the_letters_probabilities_are_shown_where_the_model_answers(tmp_path, capsys):
    # a text that ends the prompt is not the completion: only the model's own tag counts
    file = tmp_path / "scan.png"
    Image.new("RGB", (84, 84)).save(file)
    arguments = ("--image", file, "--question", QUESTION, "--options", "CT", "MRI")
    _, out, _ = run(capsys, *arguments, "--max-completion-tokens", "60")
    wrote = out.split("the model wrote:")[1].split("choice:")[0]
    assert ("%" in out) == ("<answer>" in wrote)


@pytest.mark.command
@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (("--options", "CT", "MRI"), "A) CT"),
        ((), "choice: "),
        (("--form", "yes_no", "--system", "You know medicine."), "choice: "),
    ],
)
def test_a_question_is_asked_without_an_image_too(capsys, flags, shown):
    words = ("--question", QUESTION, *flags, "--max-completion-tokens", "9")
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    assert f"\n{QUESTION}\n" in out and "the model wrote:" in out and shown in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--form", "yesno"),
            "unknown form 'yesno': use one of letter, yes_no, text, labels, number",
        ),
        (("--form", "letter"), "--options holds 0: give 2 to 26"),
        (("--form", "number", "--options", "a", "b"), "--form number asks for one number, not for"),
        (("--form", "yes_no", "--options", "Yes", "No"), "--form yes_no asks for yes or no, not"),
    ],
)
def test_options_and_a_form_that_do_not_go_together_are_told(capsys, flags, message):
    status, _, err = run(capsys, "--question", QUESTION, *flags)
    assert status == 2 and message in err and len(err.splitlines()) == 1


@pytest.mark.command
def test_a_special_token_in_the_system_turn_is_refused(capsys):
    status, _, err = run(capsys, "--question", "Why?", "--system", "<|im_end|>")
    assert status == 2 and "the text holds <|im_end|>" in err


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        ("gone.png", ["CT", "MRI"], "no such file"),
        ("text.png", ["CT", "MRI"], "replace the file, or leave it out"),  # there are no rows
        ("scan.png", ["CT"], "--options holds 1: give 2 to 26"),
        ("scan.png", ["one", "too", "many"] * 9, "--options holds 27"),
    ],
)
def test_a_wrong_value_ends_with_one_message(tmp_path, capsys, image, options, message):
    (tmp_path / "text.png").write_text("no image")
    Image.new("RGB", (84, 84)).save(tmp_path / "scan.png")
    status, out, err = run(
        capsys, "--image", tmp_path / image, "--question", QUESTION, "--options", *options
    )
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


class OutOfMemoryError(Exception):
    """Called as torch's, which is known by its name."""


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("ask", "lower --image-size"), ("score", "lower --batch-size or --image-size")],
)
def test_a_full_gpu_is_told_with_flags_that_the_command_has(name, way_out, monkeypatch, capsys):
    def full(_given):
        raise OutOfMemoryError("CUDA")

    words = ["--model", "tiny", "--image", "x.png", "--question", "?", "--options", "CT", "MRI"]
    score, ask = evaluate.SCORE, evaluate.SUBCOMMANDS["ask"]
    monkeypatch.setattr(evaluate, "SCORE", score._replace(run=full))
    monkeypatch.setitem(evaluate.SUBCOMMANDS, "ask", ask._replace(run=full))
    assert evaluate.main(["ask", *words] if name == "ask" else []) == 2
    assert capsys.readouterr().err == f"error: the GPU's memory is full (CUDA): {way_out}\n"


@pytest.mark.command
@pytest.mark.parametrize(("question", "option"), [("Why<|im_end|>?", "CT"), ("?", "<|image_pad|>")])
def test_a_special_token_in_the_question_is_refused(tmp_path, capsys, question, option):
    Image.new("RGB", (84, 84)).save(tmp_path / "scan.png")
    words = ("--question", question, "--options", option, "MRI")
    status, out, err = run(capsys, "--image", tmp_path / "scan.png", *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: the text holds <|im") and err.endswith(": remove it\n")


@pytest.mark.parametrize(
    ("question", "option"),
    [("Why <image>?", "CT"), ("?", "<image>"), ("<image><image> Why?", "CT")],
)
def test_another_trainers_mark_for_an_image_is_refused(tmp_path, capsys, question, option):
    Image.new("RGB", (84, 84)).save(tmp_path / "scan.png")
    words = ("--question", question, "--options", option, "MRI")
    status, _, err = run(capsys, "--image", tmp_path / "scan.png", *words)
    assert status == 2 and "holds <image>, which the model would read as a word" in err


def test_a_question_of_nothing_but_a_mark_for_the_image_is_refused(tmp_path, capsys):
    Image.new("RGB", (84, 84)).save(tmp_path / "scan.png")
    words = ("--question", "<image> ", "--options", "CT", "MRI")
    status, _, err = run(capsys, "--image", tmp_path / "scan.png", *words)
    assert status == 2 and "--question holds nothing but a mark for the image" in err


def test_an_empty_question_is_refused(tmp_path, capsys):
    Image.new("RGB", (84, 84)).save(tmp_path / "scan.png")
    status, _, err = run(
        capsys, "--image", tmp_path / "scan.png", "--question", " ", "--options", "a", "b"
    )
    assert (status, err) == (2, "error: --question is empty: ask something\n")


def test_what_ask_needs_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        run(capsys, "--image", "a.png", "--options", "b")
    assert stop.value.code == 2
    assert "required: --question" in capsys.readouterr().err
