"""Letter probabilities against a slow version: each spelling of each letter run on its own."""

import math

import pytest
import torch

from evaluation.letters import letter_probabilities
from models import load_policy

COMPLETIONS = [
    "<think>a bright ring</think><answer>B</answer>",
    "I am not sure",  # no tag
    "<answer>",  # cut off behind the tag
    "<answer>A</answer> no, <answer>C or D",  # the last tag counts
]
QUESTIONS = ["Which one?", "Which modality is this, and why?", "What?", "Which disease is seen?"]
OPTION_COUNTS = [4, 4, 2, 3]


@pytest.fixture(scope="module", params=["qwen2_vl", "tiny"])
def policy(request):
    """Qwen's tokenizer merges `>B` into one token; the embedded model's is another one."""
    if request.param == "tiny":
        return load_policy("tiny")
    return load_policy(request.getfixturevalue("nano_dirs")["qwen2_vl"])


@pytest.fixture(scope="module")
def prompts(policy):
    return [policy.processor.encode(question) for question in QUESTIONS]


@pytest.fixture(scope="module")
def letters(policy, prompts):
    return letter_probabilities(policy, prompts, COMPLETIONS, OPTION_COUNTS)


def probability(policy, prompt, ids):
    """The probability of ids behind a prompt without images, through transformers' own forward."""
    tokens = torch.tensor([[*prompt.input_ids.tolist(), *ids]])
    with torch.no_grad():
        logits = policy.model(input_ids=tokens).logits[0].double()
    logits[:, list(policy.processor.banned_ids)] = float("-inf")
    logprobs = logits.log_softmax(dim=1)
    start = prompt.num_tokens
    return math.exp(sum(logprobs[start + i - 1, token].item() for i, token in enumerate(ids)))


def spellings(tokenizer, text, letter):
    """Every way in which the text's tokens can go on with a letter: behind the last, or in it."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tail = tokenizer.decode(ids[-1:]) + letter
    merged = [token for token in range(len(tokenizer)) if tokenizer.decode([token]) == tail]
    alone = tokenizer.convert_tokens_to_ids(letter)
    return [[*ids, alone], *([*ids[:-1], token] for token in merged)]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (0, "<think>a bright ring</think><answer>"),
        (2, "<answer>"),
        (3, "<answer>A</answer> no, <answer>"),
    ],
)
def test_batched_probabilities_are_those_of_each_spelling_on_its_own(
    policy, prompts, letters, row, text
):
    names = "ABCD"[: OPTION_COUNTS[row]]
    expected = {
        name: sum(
            probability(policy, prompts[row], ids)
            for ids in spellings(policy.processor.tokenizer, text, name)
        )
        for name in names
    }
    total = sum(expected.values())
    expected = {name: value / total for name, value in expected.items()}
    assert letters[row] == pytest.approx(expected, rel=1e-4)


def test_there_is_one_probability_per_option_and_they_sum_to_one(letters):
    present = [index for index, found in enumerate(letters) if found is not None]
    assert present == [0, 2, 3]
    for index in present:
        assert list(letters[index]) == list("ABCD"[: OPTION_COUNTS[index]])
        assert sum(letters[index].values()) == pytest.approx(1)


def test_without_any_tag_nothing_is_computed(policy, prompts):
    assert letter_probabilities(policy, prompts[:2], ["none", "<answer"], [4, 4]) == [None, None]


def test_what_was_written_behind_the_tag_plays_no_part(policy, prompts):
    texts = ["<answer>A</answer>", "<answer>D</answer> because"]
    first, second = letter_probabilities(policy, [prompts[0]] * 2, texts, [4, 4])
    assert first == pytest.approx(second, rel=1e-5)


def test_qwens_tokenizer_needs_both_spellings(nano_dirs):
    # if `>B` were no token any more, the merged spelling in evaluation/letters.py could go
    processor = load_policy(nano_dirs["qwen2_vl"]).processor
    assert len(processor.encode_completion("<answer>B")) == 3
    assert len(spellings(processor.tokenizer, "<answer>", "B")) == 2


def test_a_banned_token_takes_no_probability_from_a_letter(nano_dirs):
    policy = load_policy(nano_dirs["qwen2_vl"])
    prompt = policy.processor.encode("Which one?")
    *before, last = policy.processor.encode_completion("<answer>")
    forced = torch.tensor([[*before, last, policy.processor.pad_id]])
    with torch.no_grad():
        # `>` about as likely as all else, so that the letters behind it weigh beside `>A`, `>B`
        at_last = policy.completion_hidden([prompt], [1], forced)[0, len(before)]
        policy.output_weight[last] = 12 * at_last / at_last.square().sum()
        plain = letter_probabilities(policy, [prompt], ["<answer>"], [4])[0]
        behind = policy.completion_hidden([prompt], [1], forced)[0, len(before) + 1]
        policy.output_weight[policy.processor.banned_ids[0]] = 40 * behind / behind.square().sum()
    assert letter_probabilities(policy, [prompt], ["<answer>"], [4])[0] == pytest.approx(plain)
