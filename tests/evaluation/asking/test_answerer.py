"""Scoring with the embedded model: order, batches, images, and what does not fit."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image

from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction
from evaluation.answers.redrawn import blurred, mirrored
from evaluation.asking.answerer import answer_all, answer_under
from evaluation.asking.encoding import encode_checked, encoded_ahead
from evaluation.heldout import HeldOut
from evaluation.measures.summary import summarize
from models import load_policy
from models.prompts.image_processor import seen_image
from rewards import parse_completion

pytestmark = pytest.mark.model

LIMIT = 12


@dataclass(frozen=True)
class Drawing:
    """An image that counts how often it is drawn."""

    color: tuple[int, int, int]
    times: list[int] = field(default_factory=list, compare=False)

    def __call__(self) -> Image.Image:
        self.times.append(1)
        return Image.new("RGB", (90, 60), self.color)

    def __str__(self) -> str:
        return f"drawn-{self.color[0]}.png"


def examples(count=7):
    # lengths differ, so that batches of similar length are not in the input's order
    return [
        VQAExample(
            f"row-{i}",
            (Drawing((i * 30, 100, 200 - i * 20)),),
            "Which modality was used for this image?" + " Look closely." * (i * 5 % 4),
            ("CT", "MRI", "fundus", "X-ray")[: 2 + i % 3],
            "AB"[i % 2],
            modality="CT",
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny")


def run(policy, rows, **options):
    options = {"max_completion_tokens": LIMIT, "progress": False, "mode": "think", **options}
    return answer_all(policy, rows, TurnBuilder(TEMPLATES["think"], 84), **options)


def test_results_are_in_the_order_of_the_questions_whatever_the_batches(policy):
    rows = examples()
    one = run(policy, rows, batch_size=1)
    assert [item.id for item in one] == [example.id for example in rows]
    for batch_size in (2, 3, 32):
        assert run(policy, rows, batch_size=batch_size) == one


def test_each_image_is_drawn_once_and_named(policy):
    rows = examples()
    predictions = run(policy, rows, batch_size=3, with_letters=True)
    assert [len(row.images[0].times) for row in rows] == [1] * len(rows)
    assert predictions[2].images == ("drawn-60.png",)


def test_a_prediction_says_what_the_parser_reads(policy):
    for item, row in zip(run(policy, examples()), examples(), strict=True):
        parsed = parse_completion(item.completion, "think", row.options)
        assert (item.choice, item.well_formed) == (parsed.choice, parsed.well_formed)
        assert item.lenient_choice == parsed.lenient_choice
        assert item.options == row.options
        assert item.permutation == tuple(range(len(row.options)))
        assert (item.letter_probabilities, item.control) == (None, None)


def test_a_completion_is_truncated_exactly_when_it_fills_the_limit_without_an_end(policy):
    (long,) = run(policy, examples(1), max_completion_tokens=200)
    if not long.truncated:  # the end token is counted
        (exact,) = run(policy, examples(1), max_completion_tokens=long.completion_tokens)
        assert exact == long
    (short,) = run(policy, examples(1), max_completion_tokens=long.completion_tokens - 1)
    assert short.truncated
    assert short.completion_tokens == long.completion_tokens - 1


def test_what_does_not_fit_into_the_context_is_unanswered_and_not_cut(policy, capsys):
    rows = examples(3)
    rows[1] = replace(rows[1], question="Why? " * policy.context_tokens)
    found = run(policy, rows)
    assert "row-1 has a prompt of" in found[1].unanswered
    assert "exceed the model's context" in found[1].unanswered
    assert "not answered, counted as wrong: example row-1 has" in capsys.readouterr().err
    turn = TurnBuilder(TEMPLATES["think"], 84)(rows[0])
    room = policy.context_tokens - policy.processor.encode(turn.text, turn.images).num_tokens
    (one,) = run(policy, rows[:1], max_completion_tokens=room + 1)
    assert "nothing is truncated" in one.unanswered


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_row_that_cannot_be_read_any_more_counts_as_wrong_and_moves_no_other(
    policy, tmp_path, capsys, batch_size
):
    rows = examples()
    whole = run(policy, rows)
    rows[4] = replace(rows[4], images=(Path(tmp_path / "gone.png"),))
    lettered = run(policy, rows, with_letters=True, batch_size=batch_size)
    assert lettered[4].letter_probabilities is None
    assert lettered[0].letter_probabilities == pytest.approx(
        run(policy, rows[:1], with_letters=True)[0].letter_probabilities, rel=1e-3
    )
    capsys.readouterr()
    found = run(policy, rows, batch_size=batch_size)
    assert found[:4] + found[5:] == whole[:4] + whole[5:]
    lost = found[4]
    assert lost.id == "row-4" and "gone.png does not exist" in lost.unanswered
    assert (lost.completion, lost.choice, lost.letter_probabilities) == ("", None, None)
    assert not lost.correct and not lost.lenient_correct and not lost.truncated
    assert capsys.readouterr().err.count("warning: not answered") == 1
    assert summarize(found)["overall"]["unanswered"] == 1
    assert "unanswered" not in summarize(whole)["overall"]
    assert Prediction.from_json(lost.to_json()) == lost
    old = {key: value for key, value in whole[0].to_json().items() if key != "unanswered"}
    assert Prediction.from_json(old) == whole[0]  # as earlier versions wrote it


def test_where_every_image_is_gone_an_evaluation_stops(policy, tmp_path):
    rows = [replace(examples(1)[0], id=f"{i}", images=(tmp_path / "no.png",)) for i in range(60)]
    with pytest.raises(ValueError, match=r"50 rows in a row could not be read.*no\.png"):
        run(policy, rows)


def test_a_mistake_of_ours_is_no_unreadable_row(policy):
    class Broken(TurnBuilder):
        def __call__(self, _example):
            raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        options = {"max_completion_tokens": LIMIT, "progress": False, "mode": "think"}
        answer_all(policy, examples(1), Broken(TEMPLATES["think"], 84), **options)


def test_held_out_rows_that_could_not_be_asked_are_said(policy, tmp_path, capsys):
    rows = examples()
    rows[0] = replace(rows[0], images=(tmp_path / "gone.png",))
    summary = HeldOut(rows, TurnBuilder(TEMPLATES["think"], 84), "think", LIMIT)(policy, 5)
    assert summary["overall"]["n"] == summary["visual_gain"]["n"] == len(rows)
    assert summary["overall"]["unanswered"] == summary["blank"]["overall"]["unanswered"] == 1
    said = " ".join("".join(capsys.readouterr()).split())  # whatever the width of the page
    assert "1 could not be asked and count as wrong" in said


def test_held_out_questions_are_scored_in_batches_of_the_size_asked_for(policy, capsys):
    rows, turns = examples(), TurnBuilder(TEMPLATES["think"], 84)
    for batch_size in (2, 7):
        heldout = HeldOut(rows, turns, "think", LIMIT, batch_size=batch_size)
        summary = heldout(policy, 5)
        assert summary["overall"]["n"] == len(rows)
        assert heldout.predictions == run(policy, rows)
    printed = "".join(capsys.readouterr())
    blank = [item.correct for item in run(policy, rows, control="blank")]
    assert summary["blank"]["overall"]["accuracy"] == sum(blank) / len(blank)
    gain = summary["overall"]["accuracy"] - sum(blank) / len(blank)
    assert summary["visual_gain"]["gain"] == pytest.approx(gain)
    assert summary["visual_gain"]["n"] == len(rows)
    assert "step 5: held-out accuracy" in printed and f"gain {100 * gain:+.1f} points" in printed
    alone = HeldOut(rows, turns, "think", LIMIT, with_blank=False)(policy, 5)
    assert summary.keys() - alone.keys() == {"blank", "visual_gain", "image_sensitivity"}
    with pytest.raises(ValueError, match="batch size 0 must be at least 1"):
        HeldOut(rows, turns, "think", LIMIT, batch_size=0)(policy, 5)


def test_a_held_out_question_without_an_image_has_no_part_in_the_visual_gain(policy, capsys):
    rows, turns = examples(5), TurnBuilder(TEMPLATES["think"], 84)
    for place in (1, 4):
        rows[place] = replace(rows[place], images=())
    summary = HeldOut(rows, turns, "think", LIMIT)(policy, 5)
    shown = [rows[place] for place in (0, 2, 3)]
    alone = HeldOut(shown, turns, "think", LIMIT)(policy, 5)
    assert summary["overall"]["n"] == 5
    assert summary["blank"] == alone["blank"] | {"without_image": 2}
    assert summary["blank"]["overall"]["n"] == 3
    assert summary["visual_gain"] == alone["visual_gain"]
    assert summary["image_sensitivity"] == alone["image_sensitivity"]
    capsys.readouterr()
    bare = HeldOut([rows[1], rows[4]], turns, "think", LIMIT)(policy, 5)
    assert bare["overall"]["n"] == 2 and not {"blank", "visual_gain"} & bare.keys()
    assert "blank" not in "".join(capsys.readouterr())


def test_images_are_encoded_once_for_both_passes_and_by_other_threads(policy):
    rows, threads = examples(), []

    class Turns(TurnBuilder):
        def __call__(self, example):
            threads.append(threading.current_thread().name)
            return super().__call__(example)

    heldout = HeldOut(rows, Turns(TEMPLATES["think"], 84), "think", LIMIT, batch_size=3)
    summary = heldout(policy, 0)
    assert [len(row.images[0].times) for row in rows] == [1] * len(rows)
    assert len(threads) == len(rows)
    assert all(name.startswith("groupwise-encoding") for name in threads)
    blank = [item.correct for item in run(policy, rows, control="blank")]
    assert summary["blank"]["overall"]["accuracy"] == sum(blank) / len(blank)


def test_a_lost_image_is_said_once_and_unanswered_in_both_passes(policy, tmp_path, capsys):
    rows = examples()
    rows[2] = replace(rows[2], images=(tmp_path / "gone.png",))
    heldout = HeldOut(rows, TurnBuilder(TEMPLATES["think"], 84), "think", LIMIT, batch_size=3)
    summary = heldout(policy, 0)
    assert capsys.readouterr().err.count("warning: not answered") == 1
    assert summary["overall"]["unanswered"] == summary["blank"]["overall"]["unanswered"] == 1


def test_no_more_than_the_next_batch_is_encoded_ahead():
    begun, batches = [], [["a", "b"], ["c", "d"], ["e", "f"]]
    encoded = encoded_ahead(batches, lambda item: begun.append(item) or item.upper())
    assert next(encoded) == ["A", "B"]
    for _ in range(500):  # the next batch comes while this one is answered
        if len(begun) == 4:
            break
        time.sleep(0.01)
    assert set(begun) == set("abcd")
    encoded.close()
    assert not any(t.name.startswith("groupwise-encoding") for t in threading.enumerate())
    assert set(begun) == set("abcd")
    assert list(encoded_ahead([], str)) == []


def test_what_cannot_be_encoded_comes_out_where_its_batch_is_due():
    def encode(number):
        if number == 3:
            raise ValueError("no image")
        return number

    encoded = encoded_ahead([[1], [2, 3], [4]], encode)
    assert next(encoded) == [1]
    with pytest.raises(ValueError, match="no image"):
        next(encoded)
    assert not any(t.name.startswith("groupwise-encoding") for t in threading.enumerate())


def test_after_an_evaluation_nothing_is_kept_of_its_graphs(policy):
    policy.decode_graphs = "stand-in"
    try:
        HeldOut(examples(2), TurnBuilder(TEMPLATES["think"], 84), "think", LIMIT)(policy, 0)
        assert policy._decoder is None
    finally:
        policy.decode_graphs = "auto"


def test_a_batch_holds_at_least_one_question(policy):
    with pytest.raises(ValueError, match="batch size 0 must be at least 1"):
        run(policy, examples(1), batch_size=0)


def test_the_blank_control_asks_the_same_questions_with_nothing_to_see(policy):
    rows = examples(4)
    blank = run(policy, rows, control="blank")
    assert [item.control for item in blank] == ["blank"] * 4
    assert [item.id for item in blank] == [row.id for row in rows]
    unseen = [replace(row, images=(Drawing((0, 0, 0)),)) for row in rows]
    assert [item.completion for item in run(policy, unseen, control="blank")] == [
        item.completion for item in blank
    ]
    with pytest.raises(ValueError, match="unknown control 'dark'"):
        run(policy, rows, control="dark")


class Half:
    """An image that is white on its left half, and not square."""

    def __call__(self) -> Image.Image:
        image = Image.new("RGB", (120, 60))
        image.paste((255, 255, 255), (0, 0, 60, 60))
        return image

    def __str__(self) -> str:
        return "half.png"


@pytest.mark.parametrize("image_size", [0, 84, 100])
def test_an_image_in_the_size_that_the_model_sees_has_the_patches_of_the_image(policy, image_size):
    turn = TurnBuilder(TEMPLATES["think"], image_size)(
        VQAExample("row-0", (Half(),), "Which?", ("a", "b"), "A")
    )
    processor, keep_size = policy.processor, turn.keep_size
    seen = seen_image(processor.image_processor, turn.images[0], keep_size=keep_size)
    own = processor.encode(turn.text, turn.images, keep_size=keep_size)
    again = processor.encode(turn.text, [seen], keep_size=True)
    assert again.pixel_digest == own.pixel_digest
    height, width = (own.image_grid_thw[0, 1:] * processor.image_processor.patch_size).tolist()
    assert seen.size == (width, height)


@pytest.mark.parametrize("image_size", [0, 100])
def test_an_image_that_is_drawn_anew_as_it_was_is_asked_as_it_was(policy, image_size):
    row = VQAExample("row-0", (Half(),), "Which?", ("a", "b"), "A")
    turns = TurnBuilder(TEMPLATES["think"], image_size)
    own = encode_checked(policy, row, turns, LIMIT)
    drawn = encode_checked(policy, row, turns, LIMIT, lambda image: image)
    assert (drawn.pixel_digest, drawn.num_tokens) == (own.pixel_digest, own.num_tokens)


def test_a_mirrored_image_is_asked_as_if_its_file_were_mirrored(policy):
    class Mirrored(Half):
        def __call__(self) -> Image.Image:
            return mirrored(super().__call__())

    row = VQAExample("row-0", (Half(),), "Which?", ("a", "b"), "A")
    flipped = run(policy, [row], control="flip", with_letters=True)
    other = run(policy, [replace(row, images=(Mirrored(),))], with_letters=True)
    own = run(policy, [row], with_letters=True)
    assert flipped[0].letter_probabilities == other[0].letter_probabilities
    assert flipped[0].letter_probabilities != own[0].letter_probabilities
    assert (flipped[0].control, flipped[0].images) == ("flip", ("half.png",))


def test_a_radius_is_in_pixels_of_what_the_model_sees_and_each_is_asked_apart(policy):
    seen_sizes = []

    def redraw(image: Image.Image) -> Image.Image:
        seen_sizes.append(image.size)
        return blurred(image, 4.0)

    row = VQAExample("row-0", (Half(), Half()), "Which?", ("a", "b"), "A")
    turns = TurnBuilder(TEMPLATES["think"], 100)
    prompt = encode_checked(policy, row, turns, LIMIT, redraw)
    assert seen_sizes == [(112, 112)] * 2  # 100 in whole visual tokens of 28
    asked = {
        control: run(policy, [row], control=control, with_letters=True)[0].letter_probabilities
        for control in (None, "blur:4", "blur:16")
    }
    assert len({str(found) for found in asked.values()}) == 3
    assert prompt.num_tokens == encode_checked(policy, row, turns, LIMIT).num_tokens


def test_several_controls_at_once_are_those_asked_alone(policy):
    rows = examples(3)
    together = answer_under(
        policy,
        rows,
        TurnBuilder(TEMPLATES["think"], 84),
        controls=[None, "blank", "blur:4", "flip"],
        mode="think",
        max_completion_tokens=LIMIT,
        progress=False,
    )
    alone = [run(policy, rows, control=control) for control in (None, "blank", "blur:4", "flip")]
    assert together == alone


def test_letters_are_read_for_lettered_options_alone_and_a_text_only_row_is_asked_too(policy):
    rows = [
        *phantom_examples("heldout", rows_per_cell=1)[:2],
        VQAExample("y", (Drawing((1, 2, 3)),), "Is this CT?", ("Yes", "No"), "A", form="yes_no"),
        VQAExample("t", (), "Which organ lies left?", (), "spleen", form="text"),
        VQAExample("n", (), "How many lungs?", (), "2", form="number"),
    ]
    found = run(policy, rows, with_letters=True, max_completion_tokens=40)
    assert [item.form for item in found] == ["letter", "letter", "yes_no", "text", "number"]
    assert all(item.letter_probabilities is None for item in found[2:])
    alone = run(policy, rows[:2], with_letters=True, max_completion_tokens=40)
    assert all(item.letter_probabilities for item in alone)
    for item, other in zip(found, alone, strict=False):
        assert item.completion == other.completion
        assert item.letter_probabilities == pytest.approx(other.letter_probabilities, abs=1e-5)
