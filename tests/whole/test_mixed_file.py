"""One file of every form of answer, with text alone, one image and two: trained on and evaluated.

As a user runs it, `train.py` and `evaluate.py` on files alone, for both families of models.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import evaluate
import train
from data.sources import load_split
from rewards.forms import FORMS
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.slow

STEPS = 2


def problem(question: str, letter: str, **images) -> dict:
    return {"problem": question, "solution": f"<answer> {letter} </answer>", **images}


def triple(question: str, answer: str, image: str) -> dict:
    return {"image": image, "question": question, "answer": answer}


def asked(question: str, solution: str, *images: str, system: str = "") -> dict:
    turns = [{"role": "system", "content": system}] * bool(system)
    content = "<image>" * len(images) + question
    turns.append({"role": "user", "content": content})
    return {"messages": turns, "solution": solution} | ({"images": list(images)} if images else {})


# A row, the form of its answer, and how many images it shows.
ROWS = [
    (problem("Which plane? A)axial, B)coronal, C)sagittal", "B", image="0.png"), "letter", 1),
    (triple("Is a disc present?", "yes", "1.png"), "yes_no", 1),
    (triple("What is shown?", "discs", "0.png"), "text", 1),
    (triple("How many discs are there?", "3", "2.png"), "number", 1),
    (problem("Which of these is a modality? A)CT, B)liver", "A"), "letter", 0),
    (asked("How many lungs has a man?", "2", system="You know medicine."), "number", 0),
    (asked("What changed?", "nothing", "0.png", "1.png"), "text", 2),
    (problem("Which is darker? A)first, B)second", "B", image=["2.png", "0.png"]), "letter", 2),
]  # fmt: skip
FORMS_OF_ROWS = [form for _, form, _ in ROWS]
IMAGES_OF_ROWS = [count for _, _, count in ROWS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images of three sizes, and the file."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, size in enumerate([(56, 84), (60, 130), (140, 75)]):
        random_image(*size, seed=number).save(folder / f"{number}.png")
    lines = (json.dumps(row) for row, _, _ in ROWS)
    (folder / "mixed.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def flags(folder) -> list[str]:
    data = [f"--{part}-json={folder / 'mixed.jsonl'}" for part in ("train", "eval")]
    return [
        *data,
        *("--image-root", str(folder), "--image-size", "0", "--device", "cpu"),
        *("--max-steps", str(STEPS), "--prompts-per-step", str(len(ROWS) // STEPS)),
        *("--max-completion-tokens", "8", "--learning-rate", "1e-3"),
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, folder) -> Path:
    longer = {"max_position_embeddings": 1024}
    return write_checkpoint(folder / request.param, request.param, changes=longer)


@pytest.fixture(scope="module")
def trained(model, flags, folder) -> Path:
    """A run's directory: both steps have seen all rows together."""
    run = folder / f"run-{model.name}"
    own = f"{Path(__file__).parent / 'own_rewards.py'}:ascii_count"
    how = ["--group-size", "2", "--rewards", own, "accuracy", "format", "--verify-prefix"]
    assert train.main(["--model", str(model), *flags, *how, "--output-dir", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def evaluated(trained, folder) -> Path:
    output = folder / f"evaluated-{trained.name}"
    checkpoint = trained / "checkpoints" / f"step-{STEPS:06d}"
    flags = ["--model", str(checkpoint), "--json", str(folder / "mixed.jsonl")]
    flags += ["--image-root", str(folder), "--device", "cpu", "--output-dir", str(output)]
    flags += ["--controls", "blank", "no_image", "--permute-options", "2"]
    assert evaluate.main(flags) == 0
    return output


def lines_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def number_of(line: dict) -> int:
    return int(line["id"].rpartition("-")[2])


def test_each_row_is_read_as_what_it_is(folder):
    split = load_split([str(folder / "mixed.jsonl")], image_root=folder, part="train")
    assert [example.form for example in split.examples] == FORMS_OF_ROWS
    assert [len(example.images) for example in split.examples] == IMAGES_OF_ROWS
    assert [example.system for example in split.examples if example.system] == [
        "You know medicine."
    ]


def test_every_row_is_sampled_rewarded_and_learned_from(trained, model):
    steps = lines_of(trained / "metrics.jsonl")
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert all(line["grad_norm"] > 0 and line["logprob_gap/max"] < 1e-4 for line in steps)
    rollouts = lines_of(trained / "rollouts.jsonl")
    assert sorted(map(number_of, rollouts)) == [
        number for number in range(len(ROWS)) for _ in range(2)
    ]
    for line in rollouts:
        _, form, images = ROWS[number_of(line)]
        assert len(line["images"]) == images
        assert bool(line["options"]) == (FORMS[form].kind == "choice")
        assert line["rewards"].keys() == {"ascii_count", "accuracy", "format"}
    weights = load_file(trained / "checkpoints" / f"step-{STEPS:06d}" / "model.safetensors")
    before = load_file(model / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], weights[name])}
    assert any("visual" in name for name in moved) and any("embed_tokens" in name for name in moved)


def test_held_out_rows_without_an_image_are_asked_once(trained):
    summary = json.loads((trained / "eval" / "step-000000.json").read_text(encoding="utf-8"))
    assert summary["overall"]["n"] == len(ROWS)
    assert summary["blank"]["overall"]["n"] == summary["visual_gain"]["n"] == 6


def test_every_row_is_evaluated_by_its_form(evaluated):
    plain, blank, bare = [], [], []
    for line in lines_of(evaluated / "predictions.jsonl"):
        of_control = {"blank": blank, "no_image": bare}.get(line["control"])
        if of_control is not None:
            of_control.append(number_of(line))
        elif line["permutation"] == sorted(line["permutation"]):
            plain.append(line)
    assert list(map(number_of, plain)) == list(range(len(ROWS)))
    assert [line["form"] for line in plain] == FORMS_OF_ROWS
    assert [len(line["images"]) for line in plain] == IMAGES_OF_ROWS
    shown = [number for number, count in enumerate(IMAGES_OF_ROWS) if count]
    assert blank == bare == shown
    summary = json.loads((evaluated / "summary.json").read_text(encoding="utf-8"))
    assert summary["overall"]["n"] == len(ROWS)
    assert summary["controls"]["blank"]["impossible"] == {"the row has no image": 2}


def test_the_pages_show_rows_with_two_images_and_with_none(trained, evaluated):
    for page in (trained / "report.html", evaluated / "report.html"):
        text = page.read_text(encoding="utf-8")  # of some rows
        assert any(question in text for question in ("What changed?", "Which is darker?"))
        assert any(question in text for question in ("Which of these", "How many lungs"))


def test_a_file_of_words_alone_needs_no_image_root_and_has_no_visual_gain(model, tmp_path):
    rows = [row for row, _, images in ROWS if not images]
    file = tmp_path / "words.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    how = ["--model", str(model), "--max-completion-tokens", "8", "--device", "cpu"]
    run, output = tmp_path / "run", tmp_path / "evaluated"
    flags = ["--train-json", str(file), "--eval-json", str(file), "--prompts-per-step", "2"]
    flags += ["--group-size", "2", "--max-steps", "1", "--verify-prefix"]
    assert train.main([*how, *flags, "--output-dir", str(run)]) == 0
    summary = json.loads((run / "eval" / "step-000001.json").read_text(encoding="utf-8"))
    assert summary["overall"]["n"] == 2 and not {"blank", "visual_gain"} & summary.keys()
    flags = ["--json", str(file), "--output-dir", str(output)]
    assert evaluate.main([*how, *flags, "--controls", "blank"]) == 2  # no row could have it
    assert evaluate.main([*how, *flags]) == 0
    assert [line["images"] for line in lines_of(output / "predictions.jsonl")] == [[], []]


def test_the_supervised_baseline_learns_every_forms_answer(flags, tmp_path):
    longer = {"max_position_embeddings": 1024}
    model = write_checkpoint(tmp_path / "model", changes=longer)
    run = tmp_path / "run"
    long = ["--max-steps", "6", "--save-weights-only", "--eval-every", "6"]
    words = ["--model", str(model), *flags, *long, "--method", "sft", "--output-dir", str(run)]
    assert train.main(words) == 0
    losses = [line["loss"] for line in lines_of(run / "metrics.jsonl")]
    assert len(losses) == 6 and sum(losses[4:]) < 0.9 * sum(losses[:2])  # each pair sees all rows
