"""Letters after other thoughts: whose is lent, and what the model then writes."""

import json
import math
from pathlib import Path

import pytest
import torch

import evaluate
from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.answers.prediction import judge
from evaluation.asking.lenders import Lenders, group_donor, with_thought
from evaluation.asking.thoughts import measure_changes, read_thoughts
from evaluation.report.thought_text import thought_table
from models import load_policy

pytestmark = pytest.mark.model

TURNS = TurnBuilder(TEMPLATES["think"], 84)


def row(number, *, image=None, options=("x", "y"), modality="CT", question_type="Any"):
    images = (Path(image or f"{number}.png"),)
    return VQAExample(f"r-{number}", images, "Which?", options, "A", modality, question_type)


def answer(example, letter, thought="ring", mode="think"):
    text = f"<think>{thought}</think><answer>{letter}</answer>"
    return judge(example, text, mode=mode, completion_tokens=9, truncated=False)


def test_only_the_thought_is_exchanged():
    text = " <think>\na ring </think>\n<answer>B</answer>"
    assert with_thought(text, "\na ring ") == " <think>\na ring </think>\n<answer>"
    assert with_thought(text, "") == " <think></think>\n<answer>"


def test_the_group_lends_the_first_thought_that_led_elsewhere():
    example = row(0)
    group = [
        answer(example, "A", "same"),
        judge(example, "<answer>B</answer>", mode="think", completion_tokens=1, truncated=False),
        answer(example, "B", "first"),
        answer(example, "B", "second"),
    ]
    donor = group_donor(answer(example, "A"), group)
    assert (donor.thought, donor.choice) == ("first", "B")
    assert group_donor(answer(example, "A"), group[:2]) is None  # B's completion is malformed


def test_a_borrowed_thought_chose_another_text_about_another_image_of_the_same_kind():
    receiver = answer(row(0), "A")
    same_image = answer(row(1, image="0.png"), "B", "same image")
    same_text = answer(row(2, options=("y", "X.")), "B", "same text, other letter")
    other_kind = answer(row(3, question_type="Other"), "B", "other kind")
    other_modality = answer(row(4, modality="MRI"), "B", "other modality")
    good = answer(row(5, options=("z", "Y")), "B", "good")

    def lent(*others):
        return Lenders([receiver, *others], seed=0).donor(receiver)

    assert lent(same_image, same_text, other_kind) is None
    assert lent(same_image, other_modality).thought == "other modality"
    found = lent(same_image, same_text, other_kind, other_modality, good)
    assert (found.thought, found.choice) == ("good", "B")  # "Y" there is B) here
    assert lent(answer(row(6, options=("q", "r")), "A", "apart")).choice is None  # not on offer


class StubPolicy:
    """Writes the letter that ends its thought, C without one; or A whatever was thought."""

    device = torch.device("cpu")
    context_tokens = 10_000

    def __init__(self, processor, *, reads_thought):
        self.processor, self._reads = processor, reads_thought
        self.output_weight = 50 * torch.eye(len(processor.tokenizer))  # hidden: a token, one-hot

    def image_features(self, prompts):
        return [None] * len(prompts)

    def scored_hidden(self, prompts, rows_per_prompt, ids, lengths, **_given):
        states, rows = [], iter(zip(ids.tolist(), lengths, strict=True))
        for prompt, count in zip(prompts, rows_per_prompt, strict=True):
            text = self.processor.decode(prompt.input_ids)
            thought = text.rpartition("<think>")[2].partition("</think>")[0]
            letter = (thought or "C")[-1] if self._reads else "A"
            (letter_id,) = self.processor.encode_completion(letter)
            for tokens, length in (next(rows) for _ in range(count)):
                # first the end of the tag, then the letter
                states += [tokens[0], *[letter_id] * (length - 1)]
        return torch.eye(len(self.output_weight))[states]


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


@pytest.mark.parametrize(("reads_thought", "share"), [(True, 1.0), (False, 0.0)])
def test_a_letter_that_hangs_on_the_thought_changes_with_it(tiny, reads_thought, share):
    examples = [
        VQAExample(f"r-{i}", (), "Which?", ("x", "y", "z"), "A", "CT", "Any") for i in range(6)
    ]
    predictions = [
        answer(example, letter, f"ring {letter}")
        for example, letter in zip(examples, "ABABAB", strict=True)
    ]
    predictions[5] = judge(
        examples[5], "no form", mode="think", completion_tokens=2, truncated=False
    )
    summary, rows = measure_changes(
        StubPolicy(tiny.processor, reads_thought=reads_thought),
        examples,
        predictions,
        TURNS,
        mode="think",
        changes=["removed", "borrowed"],
        max_completion_tokens=8,
        batch_size=7,  # two questions at once: the last batch is a smaller one
        progress=False,
    )
    assert summary["applicable"]
    assert (summary["n"], summary["left_out"], len(rows)) == (5, 1, 5)
    assert summary["own"]["agrees"] == (1.0 if reads_thought else 0.6)
    for name in ("removed", "borrowed"):
        assert summary["changes"][name]["n"] == 5
        assert summary["changes"][name]["changed"] == share
    assert summary["changes"]["borrowed"]["followed"] == (1.0 if reads_thought else 0.4)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("think_after", "writes its letter before its thought"), ("no_think", "writes no thought")],
)
def test_where_the_letter_cannot_depend_on_a_thought_nothing_is_run(mode, reason):
    summary, rows = measure_changes(None, [], [], TURNS, mode=mode, changes=["removed"])
    assert (summary["applicable"], rows) == (False, [])
    assert reason in summary["reason"]
    thoughts = {"applicable": True, "classes": {}, "tokens": None, "teacher_forced": summary}
    assert f"not applicable, {mode} {reason}" in thought_table(thoughts)


def slow_letters(policy, prompt, text, letters):
    """Letters behind a text by transformers' own forward over the whole, nothing shared."""
    ids = policy.processor.encode_completion(text)
    merged = {}
    for letter in letters:
        spelt = policy.processor.encode_completion(text + letter)
        assert spelt[: len(ids)] == ids, "the embedded tokenizer merges nothing here"
        (merged[letter],) = spelt[len(ids) :]
    tokens = torch.cat([prompt.input_ids, torch.tensor(ids)])
    text_positions = prompt.next_position + torch.arange(len(ids)).expand(3, -1)
    with torch.no_grad():
        logits = policy.model(
            input_ids=tokens[None],
            pixel_values=prompt.pixel_values,
            image_grid_thw=prompt.image_grid_thw,
            position_ids=torch.cat([prompt.position_ids, text_positions], dim=1)[:, None],
            mm_token_type_ids=(tokens == policy.processor.image_token_id).int()[None],
        ).logits[0, -1]
    weights = {letter: math.exp(logits[token].double()) for letter, token in merged.items()}
    return {letter: weight / sum(weights.values()) for letter, weight in weights.items()}


@pytest.fixture(scope="module")
def measured(tiny):
    """Six held-out questions with hand-made answers, each of them under every change."""
    examples = phantom_examples("heldout", "CT")[:60:10]
    predictions = [
        answer(example, "ABCD"[i % 4], f"a ring of kind {i}") for i, example in enumerate(examples)
    ]
    rows = read_thoughts(
        tiny,
        examples,
        predictions,
        TURNS,
        changes=["removed", "swapped", "borrowed"],
        max_completion_tokens=40,
        samples=3,
        batch_size=8,
        progress=False,
    )
    return examples, predictions, rows


def test_shared_prompts_give_the_letters_of_a_plain_forward_over_the_whole_sequence(tiny, measured):
    examples, predictions, rows = measured
    assert {name for row in rows for name in row.letters} >= {"own", "removed", "borrowed"}
    for example, item, one in zip(examples, predictions, rows, strict=True):
        turn = TURNS(example)
        prompt = tiny.processor.encode(turn.text, turn.images)
        for name, found in one.letters.items():
            thought = {"removed": "", **one.thoughts}.get(name)
            text = item.completion if thought is None else with_thought(item.completion, thought)
            text = text[: text.index("<answer>") + len("<answer>")]
            expected = slow_letters(tiny, prompt, text, "ABCD"[: len(example.options)])
            assert found == pytest.approx(expected, abs=1e-3)  # the other ways weigh little


def test_the_batch_decides_neither_samples_nor_letters(tiny, measured):
    examples, predictions, rows = measured
    again = read_thoughts(
        tiny,
        examples,
        predictions,
        TURNS,
        changes=["removed", "swapped", "borrowed"],
        max_completion_tokens=40,
        samples=3,
        batch_size=1,
        progress=False,
    )
    assert [one.thoughts for one in again] == [one.thoughts for one in rows]
    for one, other in zip(again, rows, strict=True):
        for name, found in one.letters.items():
            assert found == pytest.approx(other.letters[name], abs=1e-5)


def test_evaluate_prints_and_writes_them(tmp_path, capsys):
    flags = ("--limit", "8", "--thoughts", "removed", "swapped", "--thought-samples", "2")
    status = evaluate.main([*flags, "--output-dir", str(tmp_path / "out")])
    assert status == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    found = summary["thoughts"]["teacher_forced"]
    # greedy: the letter that was written is the likeliest one behind its own thought
    assert found["own"]["agrees"] == 1.0
    lines = (tmp_path / "out" / "thoughts.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == found["n"] == 8 - found["left_out"]
    assert "thought removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--thoughts", "gone"), "unknown change of thoughts 'gone'"),
        (("--thought-samples", "3"), "does nothing without swapped thoughts"),
        (("--thoughts", "swapped", "--thought-samples", "1"), "must be at least 2"),
    ],
)
def test_refusals(tmp_path, capsys, flags, words):
    assert evaluate.main([*flags, "--output-dir", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
