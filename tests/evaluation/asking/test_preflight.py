"""What a row can do wrong later is found before weights are loaded, all of it in one report."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.examples import VQAExample
from data.prompts import TEMPLATES, render_prompt
from data.sources import Split, load_split
from data.turns import TurnBuilder
from evaluation.asking.encoding import encode_checked
from evaluation.asking.preflight import Preflight
from evaluation.asking.prompt_check import PromptCheck
from evaluation.asking.run_splits import run_splits
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint.loading import context_tokens
from models.prompts.processor import Processor
from tests.models.nano import FAMILIES, random_image, write_checkpoint
from tests.places import ROOT

pytestmark = pytest.mark.model

CONTEXT = 512  # of the nano checkpoints, whose tokens are bytes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("nano") / "model")


@pytest.fixture
def check(checkpoint):
    def make(image_size=56, max_completion_tokens=8) -> PromptCheck:
        turns = TurnBuilder(TEMPLATES["no_think"], image_size)
        return PromptCheck(checkpoint, turns, max_completion_tokens)

    return make


def example(*images, question="Which?", number=0) -> VQAExample:
    return VQAExample(f"CT-{number}", images, question, ("CT", "MRI"), "A", source="CT.json")


def saved(tmp_path, size, name="a.png") -> Path:
    Image.new("RGB", size, (90, 20, 10)).save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("family", FAMILIES)
def test_the_context_is_known_without_the_weights(tmp_path, family):
    directory = write_checkpoint(tmp_path / family, family)
    policy = load_policy(directory)
    for weights in directory.glob("*.safetensors"):
        weights.unlink()
    assert context_tokens(directory) == policy.context_tokens == CONTEXT
    with pytest.raises(ValueError, match="no model directory"):
        context_tokens(tmp_path / "nowhere")


SIZES = [(56, 56), (1, 1), (100, 1), (1, 199), (3, 3), (29, 700), (640, 480), (57, 83), (2000, 30)]


@pytest.mark.parametrize("size", SIZES)
def test_tokens_are_counted_from_sizes_as_encoding_makes_them(nano_policy, size):
    processor = nano_policy.processor
    for sizes, keep in product(([size], [size, (84, 28)], []), (False, True)):
        images = [random_image(h, w) for w, h in sizes]
        if keep and min(size) < 28:  # what load_image makes square has no such sides
            continue
        prompt = processor.encode("Where?", images, keep_size=keep)
        assert processor.count_tokens("Where?", sizes, keep_size=keep) == prompt.num_tokens
        assert processor.most_tokens("Where?", sizes, keep_size=keep) >= prompt.num_tokens


@cache
def tiny_processor() -> Processor:
    return Processor.load("tiny")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_the_bound_that_costs_no_tokenizing_is_one(text):
    processor = tiny_processor()
    assume(not any(token in text for token in processor.control_tokens))  # such text is refused
    assert processor.most_tokens(text, [(28, 28)]) >= processor.count_tokens(text, [(28, 28)])


def outcome(policy, check, row) -> str:
    """What encoding makes of the row: an error's text, or nothing."""
    try:
        encode_checked(policy, row, check.turn_builder, check.max_completion_tokens)
    except ValueError as error:
        return str(error)
    return ""


def test_found_is_what_encoding_would_refuse_and_nothing_else(nano_policy, checkpoint, tmp_path):
    wide = saved(tmp_path, (400, 2), "wide.png")
    (tmp_path / "text.png").write_text("no image")
    images = [
        saved(tmp_path, (84, 60), "whole.png"),
        wide,
        saved(tmp_path, (1, 150), "thin.png"),
        tmp_path / "gone.png",
        tmp_path / "text.png",
        lambda: Image.new("RGB", (30, 30)),
        lambda: Image.new("RGB", (300, 1)),
    ]
    texts = ["Which?", "long " * 90, "at the edge " + "x" * 332, "stop <|im_end|> here", "é" * 200]
    rows = [
        example(image, question=text, number=i * 10 + j)
        for i, image in enumerate(images)
        for j, text in enumerate(texts)
    ] + [example(question=text, number=100 + j) for j, text in enumerate(texts)]
    systems = ["Be brief.", "Stop <|im_end|> here.", "é" * 200]
    rows += [replace(example(number=110 + j), system=text) for j, text in enumerate(systems)]
    refused = 0
    for image_size in (0, 56):
        turns = TurnBuilder(TEMPLATES["no_think"], image_size)
        check = PromptCheck(checkpoint, turns, 8)
        faults = Preflight([check])(rows)
        for row in rows:
            assert (row.id in faults) == bool(outcome(nano_policy, check, row)), row
        refused += len(faults)
    assert 30 < refused < 70


def test_one_token_decides_at_the_edge_of_the_context(check):
    one = check()
    used = one._processor.count_tokens("", [(56, 56)])
    rest = render_prompt(TEMPLATES["no_think"], "", ("CT", "MRI"))
    question = "x" * (CONTEXT - used - 8 - len(rest))
    picture = Image.new("RGB", (9, 9))
    fits, over = (example(lambda: picture, question=question + more) for more in ("", "y"))
    assert Preflight([one])([fits]) == {}
    (fault,) = Preflight([one])([over]).values()
    assert f"a prompt of {CONTEXT - 7} tokens, which with 8 of completion exceed" in fault.reason
    assert fault.value.startswith("'xxx") and len(fault.value) < 170  # named, not quoted whole
    assert Preflight([replace(one, max_completion_tokens=7)])([over]) == {}


def test_every_prompt_is_counted_as_it_is_encoded_and_one_that_does_not_fit_as_well(
    check, nano_policy, tmp_path
):
    rows = [
        example(saved(tmp_path, (90, 60))),
        example(saved(tmp_path, (30, 200), "b.png"), saved(tmp_path, (9, 9), "c.png"), number=1),
        example(question="Is there no image?", number=2),
        example(question="Is there no image?", number=3),  # known from the row before
        example(question="x" * CONTEXT, number=4),
    ]
    for image_size in (0, 56):
        preflight = Preflight([check(image_size)], measures=True)
        assert list(preflight(rows)) == ["CT-4"]
        split = Split(rows[:4], [], {}, counts={"CT.json": 5})
        turns = [check(image_size).turn_builder(row) for row in rows]
        encoded = [
            nano_policy.processor.encode(
                turn.text, turn.images, keep_size=turn.keep_size
            ).num_tokens
            for turn in turns
        ]
        assert preflight.lengths(split) == encoded
        assert Preflight([check(image_size)]).lengths(split) == []  # where nobody asks


def test_a_row_has_to_fit_every_model_that_is_asked(check, tmp_path):
    row = example(saved(tmp_path, (400, 2)))
    assert Preflight([check(56)])([row]) == {}
    (fault,) = Preflight([check(56), check(0)])([row]).values()
    assert "400 x 2 pixels, 200 times as long as wide" in fault.reason
    assert fault.value == f"image {tmp_path}/a.png"


def test_drawings_are_not_drawn_to_be_checked(check):
    class Drawing:
        size = (84, 84)

        def __call__(self):
            raise AssertionError("drawn")

    assert Preflight([check(0)])([example(Drawing())]) == {}
    assert Preflight([check(56)])([example(lambda: 1 / 0)]) == {}


def test_rows_that_are_asked_about_other_images_are_named(check, tmp_path):
    rows = [example(saved(tmp_path, (9, 9)), number=i) for i in range(3)]
    preflight = Preflight([check()])
    preflight.check(rows)
    moved = [replace(rows[1], images=(tmp_path / "gone.png",))]
    with pytest.raises(ValueError, match=r"(?s)1 of 3 rows .*CT\.json, row 1: image .*gone\.png"):
        preflight.check([*rows, *moved])


def test_a_template_without_its_placeholder_is_every_rows_fault(checkpoint, check, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in checkpoint.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    settings_file = model / "tokenizer_config.json"
    text = settings_file.read_text().replace("<|image_pad|>", "")
    settings_file.write_text(text)
    one = replace(check(), model=model)
    (fault,) = Preflight([one])([example(lambda: None)]).values()
    assert "0 image placeholders for 1 images" in fault.reason


@pytest.fixture
def files(tmp_path):
    """Train and test files of 6 rows each; two bad images, a bad row, a long and a marked text."""
    for i in range(6):
        saved(tmp_path, (60, 40), f"{i}.png")
    rows = [
        {"image": f"{i}.png", "problem": f"Row {i}? A)x, B)y", "solution": "<answer> A </answer>"}
        for i in range(6)
    ]
    for part in ("train", "test"):
        (tmp_path / f"CT_{part}.json").write_text(json.dumps(rows))
    return tmp_path


def spoil(folder: Path) -> None:
    content = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(content[:-40])
    file = folder / "CT_train.json"
    rows = json.loads(file.read_text())
    rows[0]["solution"] = "<answer> F </answer>"
    rows[4]["problem"] = "word " * 200 + "? A)x, B)y"
    file.write_text(json.dumps(rows))


def config(folder, checkpoint, **changes) -> GRPOConfig:
    return GRPOConfig(
        model=str(checkpoint),
        train_json=(str(folder / "CT_train.json"),),
        image_root=str(folder),
        image_size=56,
        max_completion_tokens=8,
        **changes,
    )


def test_bad_rows_of_all_files_are_named_in_one_report(files, checkpoint):
    spoil(files)
    one = config(files, checkpoint, eval_json=(str(files / "CT_test.json"),))
    with pytest.raises(ValueError, match="4 of 12 rows of 2 files cannot be used") as caught:
        run_splits(one, TEMPLATES["think"], None)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(": ", 1)[0] for line in lines] == [
        f"  - {files}/CT_train.json, row 0",
        f"  - {files}/CT_train.json, row 2",
        f"  - {files}/CT_train.json, row 4",
        f"  - {files}/CT_test.json, row 2",
    ]
    assert f"image {files}/2.png cannot be decoded (OSError" in lines[1]
    assert "exceed the model's context of 512" in lines[2]


def test_bad_rows_are_left_out_and_counted_when_they_may_be(files, checkpoint, capsys):
    spoil(files)
    one = config(files, checkpoint, eval_json=(str(files / "CT_test.json"),), skip_bad_rows=True)
    splits = run_splits(one, TEMPLATES["think"], None)
    assert [row.id for row in splits["train"].examples] == [
        "CT_train-1",
        "CT_train-3",
        "CT_train-5",
    ]
    assert [row.row for row in splits["train"].bad_rows] == [0, 2, 4]
    assert len(splits["eval"].examples) == 5
    (checksum,) = splits["train"].checksums.values()
    assert splits["train"].left_out == {checksum: [2, 4]}  # not the row that is none
    printed = capsys.readouterr().out
    assert "train: 3 bad rows skipped, the first: " in printed and "eval: 1 bad rows" in printed


def test_where_no_row_of_a_file_is_left_it_is_an_error(files, checkpoint):
    for i in range(6):
        (files / f"{i}.png").write_bytes(b"")
    one = config(files, checkpoint, skip_bad_rows=True)
    with pytest.raises(ValueError, match=r"6 of 6 rows .* no row is left to use"):
        run_splits(one, TEMPLATES["think"], None)
    moved = replace(one, image_root=str(ROOT / "configs"))
    with pytest.raises(ValueError, match=r"6 of 6 image files are missing: is --image-root"):
        run_splits(moved, TEMPLATES["think"], None)


def test_of_a_sample_only_its_own_rows_are_looked_at(files, checkpoint):
    names = (str(files / "CT_test.json"),)
    one = config(files, checkpoint, eval_json=names, eval_limit=1)
    one = replace(one, train_json=("phantoms:CT",))
    splits = run_splits(one, TEMPLATES["think"], None)
    for image in ("0.png", "1.png", "2.png", "3.png", "4.png", "5.png"):
        content = (files / image).read_bytes()
        (files / image).write_bytes(content[:-40])
    with pytest.raises(ValueError, match="1 of 6 rows"):
        run_splits(one, TEMPLATES["think"], None)
    assert len(splits["eval"].examples) == 6


def test_a_resumed_run_keeps_its_rows_whatever_became_of_the_images(files, checkpoint, capsys):
    spoil(files)
    one = config(files, checkpoint, skip_bad_rows=True)
    first = run_splits(one, TEMPLATES["think"], None)["train"]
    stored = {"left_out": {"train": first.left_out}, "config": asdict(one), "checksums": {}}
    saved(files, (60, 40), "2.png")  # mended
    (files / "3.png").unlink()  # gone
    capsys.readouterr()
    again = run_splits(one, TEMPLATES["think"], stored)["train"]
    assert again.examples == first.examples and again.left_out == first.left_out
    assert [row.row for row in again.gone_bad] == [3]
    printed = capsys.readouterr()
    assert "1 rows went bad since the run began" in printed.err and "3.png does not" in printed.err
    for file in files.glob("*.png"):
        file.unlink()
    with pytest.raises(ValueError, match="no row is left"):
        run_splits(one, TEMPLATES["think"], stored)


def test_a_resumed_run_of_a_version_without_that_note_must_find_as_many_rows(files, checkpoint):
    one = config(files, checkpoint, skip_bad_rows=True)
    stored = {"skipped_rows": {"train": 0}, "config": asdict(one), "checksums": {}}
    run_splits(one, TEMPLATES["think"], stored)
    spoil(files)
    with pytest.raises(ValueError, match="began with 0 bad rows of its train data left out, today"):
        run_splits(one, TEMPLATES["think"], stored)


def test_drawn_rows_of_both_parts_are_told_apart(checkpoint):
    one = GRPOConfig(model=str(checkpoint), train_json=("phantoms",), eval_json=("phantoms",))
    one = replace(one, image_size=56, max_completion_tokens=400)
    with pytest.raises(ValueError, match=r"(?s)rows of 2 files .*phantoms_train, row ") as caught:
        run_splits(one, TEMPLATES["think"], None)
    assert "of 7,200 rows" in str(caught.value)


def test_without_faults_to_find_images_need_not_exist(files):
    split = load_split([str(files / "CT_test.json")], part="eval", image_root=ROOT / "configs")
    assert len(split.examples) == 6


def test_bad_images_are_told_before_torch_is_imported(files, checkpoint):
    for file in files.glob("*.png"):
        file.unlink()
    code = (
        "import sys, train; status = train.main(sys.argv[1:]);"
        "sys.exit(10 if 'torch' in sys.modules else status)"
    )
    flags = ["--model", str(checkpoint), "--train-json", str(files / "CT_train.json")]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags, "--image-root", str(files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "6 of 6 image files are missing" in done.stderr
