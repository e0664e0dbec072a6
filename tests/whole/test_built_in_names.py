"""`phantoms`, `phantoms:CT` and `tiny` are the built-in ones, whatever the working directory holds.

The directories and files of those names hold rubbish: who opens one of them fails.
"""

import json
from pathlib import Path

import pytest

import data.audit.__main__
import data.splits.__main__
import evaluate
import evaluation.curate.__main__
import train
from data.named import ASKED_PHANTOMS, is_phantoms, phantom_parts
from data.phantoms import phantom_examples
from data.sources import load_split
from evaluation.report.left_out import LeftOut
from evaluation.report.pictures import ReportImages
from grpo.settings.absolute import (
    is_answered_in_words,
    is_phantoms_name,
    with_absolute_paths,
)
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve_config

NAMES = ("phantoms", "phantoms:CT", "tiny")
RUN = (
    *("--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2", "--eval-limit", "2"),
    *("--max-completion-tokens", "4", "--device", "cpu"),
)
SHORT = ("--limit", "2", "--max-completion-tokens", "4", "--device", "cpu")


@pytest.fixture(params=["folders", "files", "nothing"])
def here(request, tmp_path, monkeypatch) -> str:
    """A working directory with, or without, things of the built-in names; which of them."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        if request.param == "folders":
            Path(name).mkdir()
            Path(name, "config.json").write_text("rubbish")
        elif request.param == "files":
            Path(name).write_text("rubbish")
    return request.param


def notes(capsys, here: str, *names: str) -> None:
    """Each of the names has one note where something is called the same, and else there is none."""
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(found) == (0 if here == "nothing" else len(names))
    assert all(f"./{name}" in line for line, name in zip(found, names, strict=False))


def test_train_without_a_flag_trains_the_built_in(here, capsys):
    assert train.main([*RUN, "--output-dir", "out"]) == 0
    notes(capsys, here, "tiny", "phantoms")
    stored = json.loads(Path("out", "run.json").read_text())["config"]
    assert (stored["model"], stored["train_json"]) == ("tiny", ["phantoms"])
    assert train.main(["--resume", "out", "--max-steps", "2"]) == 0


def test_train_by_name_and_slice(here, capsys):
    flags = ("--model", "tiny", "--train-json", "phantoms:CT", "--eval-json", "phantoms:CT")
    assert train.main([*flags, *RUN, "--image-size", "84", "--output-dir", "out"]) == 0
    notes(capsys, here, "tiny", "phantoms:CT")


def test_evaluate_score_and_ask(here, capsys):
    flags = ("--model", "tiny", "--json", "phantoms:CT", "--text-prior", "phantoms")
    assert evaluate.main([*flags, *SHORT, "--output-dir", "out"]) == 0
    notes(capsys, here, "tiny", "phantoms:CT", "phantoms")
    from PIL import Image

    Image.new("RGB", (84, 84)).save("image.png")
    question = ("--image", "image.png", "--question", "Which?", "--options", "CT", "MRI")
    assert evaluate.main(["ask", "--model", "tiny", *question, "--device", "cpu"]) == 0
    notes(capsys, here, "tiny")


def test_a_matrix(here, capsys):
    flags = ("--models", "CT=tiny", "base=tiny", "--json", "phantoms:CT", "phantoms:MRI")
    assert evaluate.main(["matrix", *flags, *SHORT, "--output-dir", "out"]) == 0
    notes(capsys, here, "tiny", "phantoms:CT")


def test_curate(here, capsys):
    flags = ("--model", "tiny", "--json", "phantoms:CT", "--samples", "2", "--output-dir", "out")
    assert evaluation.curate.__main__.main([*flags, *SHORT]) == 0
    notes(capsys, here, "tiny", "phantoms:CT")


def test_a_protocol(here, capsys):
    text = """
        model = "tiny"
        output_dir = "out"
        methods = ["no_think"]
        zero_shot = []
        steps = 1
        test_limit = 2
        [data]
        phantoms = true
        [modality]
        slices = ["CT"]
        [settings]
        image_size = 84
        max_completion_tokens = 4
        prompts_per_step = 1
        group_size = 2
    """
    Path("p.toml").write_text(text)
    assert train.main(["--protocol", "p.toml", "--device", "cpu"]) == 0
    notes(capsys, here, "tiny", "phantoms")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", [data.audit.__main__, data.splits.__main__])
@pytest.mark.parametrize("name", ["phantoms", "phantoms:CT"])
def test_where_files_are_wanted_the_name_is_refused_and_no_path(command, name, capsys):
    assert command.main([name, "--output-dir", "out"]) == 2
    error = capsys.readouterr().err
    assert f"{name} is the embedded data, which is in no file" in error
    assert "python -m data.phantoms --output-dir DIR" in error and not Path("out").exists()


def test_a_path_is_never_the_built_in(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    row = {"image": "a.png", "problem": "Which? A)CT, B)MRI", "solution": "<answer> A </answer>"}
    Path("phantoms").write_text(json.dumps([row]))
    for name in ("./phantoms", Path("phantoms"), str(Path("phantoms").absolute())):
        (example,) = load_split([name], part="train", image_root=tmp_path).examples
        assert example.options == ("CT", "MRI")
    config = with_absolute_paths(GRPOConfig(model="x/y", train_json=("./phantoms", "phantoms")))
    assert config.train_json == (str(tmp_path / "phantoms"), "phantoms")
    assert evaluate.main(["--model", "./tiny", "--json", "./phantoms", "--image-root", "."]) == 2
    assert "no model directory ./tiny" in capsys.readouterr().err
    assert data.audit.__main__.main(["./phantoms"]) == 2
    assert "no two of the 1 files are a pair" in capsys.readouterr().err


def test_a_phantoms_picture_is_drawn_although_a_file_is_called_like_it(tmp_path, monkeypatch):
    name = "phantoms/heldout/CT-00000.png"
    (drawn,) = ReportImages(None, tmp_path, LeftOut()).parts([name])
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text("rubbish")
    assert ReportImages(None, tmp_path, LeftOut()).parts([name]) == [drawn] and "<img" in drawn


def test_a_picture_of_every_way_of_asking_is_drawn_again_from_its_name(tmp_path):
    names = {
        way: phantom_examples("train", "OCT", asked=way)[3].image_names[0]
        for way in ("letter", *ASKED_PHANTOMS)
    }
    assert len(set(names.values())) == 2  # all but counts are about the lettered ones' images
    shown = {name: ReportImages(None, tmp_path, LeftOut()).parts([name]) for name in names.values()}
    assert all("<img" in part for (part,) in shown.values())
    assert len({part for (part,) in shown.values()}) == 2


def test_both_places_that_know_the_name_agree():
    for name in ("phantoms", "phantoms:CT", "phantoms:", "./phantoms", "phantoms.json", "phantom"):
        assert is_phantoms_name(name) == is_phantoms(name)


def test_both_places_that_know_how_phantoms_are_asked_about_agree():
    for name in ("phantoms", "phantoms:CT", *(f"phantoms:{way}" for way in ASKED_PHANTOMS)):
        for full in (name, f"{name}:CT"):
            assert is_answered_in_words(full) == (phantom_parts(full)[0] != "letter")


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        ({"train_json": ["phantoms:CT"]}, "tiny"),
        ({"train_json": ["phantoms:CT", "phantoms:open:CT"]}, "tiny_open"),
        ({"train_json": ["phantoms:count"], "model": "tiny"}, "tiny"),
    ],
)
def test_questions_in_words_go_to_the_embedded_model_that_answers_in_words(flags, model):
    config = resolve_config(flags)
    assert config.model == model and config.image_size == 84
    assert config.eval_json == (tuple(flags["train_json"]) if "model" not in flags else ())
