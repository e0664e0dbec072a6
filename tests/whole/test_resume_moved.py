"""A run whose files lie elsewhere now goes on, to the same bytes; other content is refused."""

import json
import shutil
from pathlib import Path

import pytest

import train
from tests.models.nano import random_image, write_checkpoint

TIMES = ("time/", "_per_second")
REWARD = "def length(completion, example, mode):\n    return len(completion) % 5\n"
TEMPLATE = "Look.\n{question}\n{options}\nThink in <think> </think>, answer in <answer> </answer>."


def write_sources(folder: Path) -> None:
    (folder / "Images" / "Set").mkdir(parents=True)
    for index in range(4):
        random_image(60, 60, seed=index).save(folder / "Images" / "Set" / f"{index}.png")
    for name, count in (("CT_train", 6), ("CT_test", 4)):
        rows = [
            {
                "image": f"Images/Set/{i % 4}.png",
                "problem": f"What is seen in image {i}? A)CT, B)MRI, C)Ultrasound",
                "solution": f"<answer> {'ABC'[i % 3]} </answer>",
            }
            for i in range(count)
        ]
        (folder / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "prompt.txt").write_text(TEMPLATE, encoding="utf-8")
    (folder / "own.py").write_text(REWARD, encoding="utf-8")
    write_checkpoint(folder / "model")


def places(folder: str | Path) -> dict[str, list[str]]:
    return {
        "--model": [f"{folder}/model"],
        "--train-json": [f"{folder}/CT_train.json"],
        "--eval-json": [f"{folder}/CT_test.json"],
        "--image-root": [str(folder)],
        "--prompt-template": [f"{folder}/prompt.txt"],
        "--rewards": [f"{folder}/own.py:length", "format"],
    }


def flags(named: dict[str, list[str]], *left_out: str) -> list[str]:
    return [
        word for flag, values in named.items() if flag not in left_out for word in (flag, *values)
    ]


SETTINGS = [
    *("--image-size", "56", "--max-completion-tokens", "8", "--prompts-per-step", "2"),
    *("--group-size", "2", "--learning-rate", "1e-3", "--shuffle-options", "--device", "cpu"),
    *("--eval-limit", "2", "--lr-schedule", "constant"),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """Two steps of a run, and, as `whole`, four of the same."""
    folder = tmp_path_factory.mktemp("begun")
    write_sources(folder / "here")
    shutil.copytree(folder / "here", folder / "kept")
    for name, steps in (("run", "2"), ("whole", "4")):
        out = ["--output-dir", str(folder / name), "--max-steps", steps]
        assert train.main([*flags(places(folder / "here")), *SETTINGS, *out]) == 0
    return folder


@pytest.fixture
def moved(begun, tmp_path) -> Path:
    """The run, and all of its files at another place: they are gone from where they were."""
    shutil.copytree(begun / "run", tmp_path / "run")
    shutil.rmtree(begun / "here", ignore_errors=True)
    shutil.copytree(begun / "kept", tmp_path / "there")
    return tmp_path


def lines(file: Path) -> list[dict]:
    with file.open(encoding="utf-8") as stream:
        return [
            {k: v for k, v in json.loads(line).items() if not any(t in k for t in TIMES)}
            for line in stream
        ]


def without_folders(rows: list[dict]) -> list[dict]:
    return [row | {"images": [Path(name).name for name in row["images"]]} for row in rows]


def resume(folder: Path, *more: str) -> int:
    return train.main(["--resume", str(folder / "run"), "--max-steps", "4", *more])


def error_of(capsys, folder: Path, *more: str) -> str:
    before = (folder / "run" / "run.json").read_bytes()
    assert resume(folder, *more) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed and printed.count("error: ") == 1
    assert (folder / "run" / "run.json").read_bytes() == before
    return printed[printed.index("error: ") :]


def goes_on_to_the_same(folder: Path, begun: Path) -> dict:
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        ours, theirs = (lines(place / name) for place in (folder / "run", begun / "whole"))
        if name.startswith("rollouts"):
            ours, theirs = without_folders(ours), without_folders(theirs)
        assert ours == theirs
    last = "checkpoints/step-000004/model.safetensors"
    assert (folder / "run" / last).read_bytes() == (begun / "whole" / last).read_bytes()
    name = "eval/step-000004.json"
    ours, theirs = (json.loads((p / name).read_text()) for p in (folder / "run", begun / "whole"))
    assert ours == theirs
    return json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))


def test_all_of_it_may_lie_elsewhere(moved, begun):
    assert resume(moved, *flags(places(moved / "there"))) == 0
    described = goes_on_to_the_same(moved, begun)
    changed = described["resumed"][0]["changed"]
    assert changed["train_json"] == [f"{moved}/there/CT_train.json"]
    assert changed["rewards"] == [f"{moved}/there/own.py:length", "format"]
    assert {"model", "eval_json", "image_root", "prompt_template"} <= changed.keys()
    assert f"train data {moved}/there/CT_train.json" in described["checksums"]


def test_the_prompts_file_is_not_needed_again(moved, begun):
    assert resume(moved, *flags(places(moved / "there"), "--prompt-template")) == 0
    goes_on_to_the_same(moved, begun)


def test_new_places_may_be_relative_and_are_found_again_from_elsewhere(
    moved, begun, monkeypatch, tmp_path_factory
):
    monkeypatch.chdir(moved)
    half = ["--resume", "run", "--max-steps", "3", *flags(places("there"))]
    assert train.main(half) == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert resume(moved, "--trust-reward-file") == 0
    goes_on_to_the_same(moved, begun)


def test_a_tilde_is_home(moved, begun, monkeypatch):
    monkeypatch.setenv("HOME", str(moved))
    assert resume(moved, *flags(places("~/there"))) == 0
    goes_on_to_the_same(moved, begun)


def test_files_of_new_names_keep_the_ids_and_what_they_decide(moved, begun):
    # an id decides the order of a question's options, a file's name its modality
    there, named = moved / "there", places(moved / "there")
    for old, new in (("CT_train", "a"), ("CT_test", "b"), ("own", "mine"), ("model", "start")):
        ending = "" if old == "model" else Path(named["--rewards"][0].split(":")[0]).suffix
        ending = ending if old in ("own", "model") else ".json"
        (there / f"{old}{ending}").rename(there / f"{new}{ending}")
    named["--train-json"], named["--eval-json"] = [f"{there}/a.json"], [f"{there}/b.json"]
    named["--rewards"][0], named["--model"] = f"{there}/mine.py:length", [f"{there}/start"]
    half = ["--resume", str(moved / "run"), "--max-steps", "3", *flags(named)]
    assert train.main(half) == 0
    assert resume(moved, "--trust-reward-file") == 0  # the first names are remembered
    goes_on_to_the_same(moved, begun)
    ids = {row["id"].rpartition("-")[0] for row in lines(moved / "run" / "rollouts.jsonl")}
    assert ids == {"CT_train"}


def test_a_plain_resume_names_everything_that_is_gone_and_its_flag(moved, capsys):
    message = error_of(capsys, moved)
    for flag in ("--model", "--train-json", "--eval-json", "--image-root", "--rewards"):
        assert f"{flag} /" in message
    assert f"--resume {moved}/run --model PLACE --image-root PLACE --train-json FILES" in message


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("CT_train.json", "train data"),
        ("CT_test.json", "eval data"),
        ("own.py", "reward"),
        ("prompt.txt", "prompt template"),
        ("model/config.json", "start model"),
    ],
)
def test_other_content_is_refused_with_both_checksums(moved, file, kind, capsys):
    changed = moved / "there" / file
    text = changed.read_text(encoding="utf-8")
    for old, new in (("What is", "Which is"), ("% 5", "% 7"), ("Look.", "See."), ("{\n", "{\n\n")):
        text = text.replace(old, new, 1)
    changed.write_text(text, encoding="utf-8")
    message = error_of(capsys, moved, *flags(places(moved / "there")))
    assert f"cannot resume: {kind}" in message and "(SHA-256 " in message
    assert " then, " in message and " now" in message


@pytest.mark.parametrize(
    ("flag", "values", "message"),
    [
        ("--train-json", ["{}/CT_train.json", "{}/CT_test.json"], "names 2 files"),
        ("--eval-json", [], "--eval-json names 0 files (none), the run has 1"),
        ("--rewards", ["{}/own.py:length"], "/own.py:length, the run has "),
        ("--rewards", ["format", "{}/own.py:length"], "the same functions in the same order"),
        ("--rewards", ["{}/own.py:other", "format"], "/own.py:other, format, the run has "),
        ("--train-json", ["{}/nowhere.json"], "not found: --train-json /"),
    ],
)
def test_what_stands_for_nothing_of_the_run_is_refused(moved, flag, values, message, capsys):
    named = places(moved / "there")
    named[flag] = [value.format(moved / "there") for value in values]
    assert message in error_of(capsys, moved, *flags(named))
