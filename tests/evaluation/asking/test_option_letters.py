"""Letter probabilities against a slow version: each spelling of each letter run on its own."""

import json
import math
from itertools import product

import pytest
import torch

from evaluation.asking.option_letters import letter_probabilities
from evaluation.asking.spellings import spellings
from models import load_policy
from rewards import parse_completion

pytestmark = pytest.mark.model

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


def next_logprobs(policy, prompt, ids):
    """Of what follows ids behind a prompt without images, through transformers' own forward."""
    tokens = torch.tensor([[*prompt.input_ids.tolist(), *ids]])
    with torch.no_grad():
        logits = policy.model(input_ids=tokens).logits[0, -1].double()
    logits[list(policy.processor.banned_ids)] = float("-inf")
    return logits.log_softmax(dim=0)


def accepted(letter):
    """Texts behind the tag, up to the letter, that the parser accepts: tried one by one."""
    signs = [*" \t\n\r\f\v", *"([{<*_'\"#-.:)"]
    for length in range(3):
        for opening in map("".join, product(signs, repeat=length)):
            for form in (letter, letter.lower()):
                texts = [f"<answer>{opening}{form}{end}</answer>" for end in ("", *signs, "]", "}")]
                if any(parse_completion(text, "no_think").choice == letter for text in texts):
                    yield opening + form


def tokenisations(tokens_of, text):
    """Every sequence of tokens that spells the text."""
    if not text:
        yield []
    for end in range(1, len(text) + 1):
        for token in tokens_of.get(text[:end], []):
            yield from ([token, *rest] for rest in tokenisations(tokens_of, text[end:]))


def slow_ways(tokenizer, last, letter):
    """Every way to write the letter in place of the tag's last token, by trying all."""
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    tokens_of = {}
    for token, text in enumerate(texts):
        tokens_of.setdefault(text, []).append(token)
    tail, ways = texts[last], set()
    for written in accepted(letter):
        ways |= {(last, *tokens) for tokens in tokenisations(tokens_of, written)}
        for end in range(1, len(written) + 1):
            for merged in tokens_of.get(tail + written[:end], []):
                ways |= {(merged, *rest) for rest in tokenisations(tokens_of, written[end:])}
    return ways


def found_ways(policy, letter, text="<answer>"):
    *before, last = policy.processor.encode_completion(text)
    return before, spellings(policy.processor.token_texts, last).ways[letter]


def test_the_ways_are_all_token_sequences_that_spell_what_the_parser_accepts(policy):
    *_, last = policy.processor.encode_completion("<answer>")
    for letter in "BZ":
        _, found = found_ways(policy, letter)
        assert len(set(found)) == len(found)
        assert set(found) == slow_ways(policy.processor.tokenizer, last, letter)


def test_no_way_begins_another_and_each_is_read_by_the_parser(policy):
    everything = {letter: found_ways(policy, letter)[1] for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    all_ways = [way for ways in everything.values() for way in ways]
    begun = {way[:end] for way in all_ways for end in range(len(way))}
    assert not begun & set(all_ways) and len(set(all_ways)) == len(all_ways)
    before, _ = found_ways(policy, "A")
    for letter, ways in everything.items():
        for way in ways:
            text = policy.processor.decode([*before, *way])
            closed = [text + end + "</answer>" for end in ("", ")")]
            assert letter in {parse_completion(one, "no_think").choice for one in closed}, text


@pytest.mark.parametrize(
    "answer",
    ["B", " B ", "\nB\n", "\n\nB", "  B", "b", " b", "(B)", " (b)", "\r\nB", "\tB", "B)", "B. y"],
)
def test_what_the_tokenizer_writes_of_an_answer_begins_with_a_way(policy, answer):
    assert parse_completion(f"<answer>{answer}</answer>", "no_think", ["x", "y"]).choice == "B"
    before, ways = found_ways(policy, "B")
    ids = policy.processor.encode_completion(f"<answer>{answer}</answer>")[len(before) :]
    assert sum(tuple(ids[: len(way)]) == way for way in ways) == 1


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
    expected, behind = dict.fromkeys(names, 0.0), {}
    for name in names:
        before, ways = found_ways(policy, name, text)
        if len(policy.processor.token_texts) > 10_000:  # three tokens weigh 1 / V of two
            ways = [way for way in ways if len(way) <= 2]
        for way in ways:
            for end in range(len(way)):
                if way[:end] not in behind:
                    ids = [*before, *way[:end]]
                    behind[way[:end]] = next_logprobs(policy, prompts[row], ids)
            steps = [behind[way[:end]][token].item() for end, token in enumerate(way)]
            expected[name] += math.exp(sum(steps))
    total = sum(expected.values())
    assert letters[row].mass == pytest.approx(total, rel=1e-3)
    shares = {name: value / total for name, value in expected.items()}
    assert letters[row] == pytest.approx(shares, rel=1e-3)


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


class Writer:
    """Writes these tokens in place of the tag's last one, nearly always; then anything."""

    device = torch.device("cpu")

    def __init__(self, policy, path):
        self.processor, self._path = policy.processor, path
        self.output_weight = torch.zeros(len(policy.output_weight), len(path) + 1)  # (V, D)
        for place, token in enumerate(path):
            self.output_weight[token, place] = 50.0

    def image_features(self, prompts):
        return [None] * len(prompts)

    def scored_hidden(self, _prompts, _rows, ids, lengths, **_given):
        places = [
            end if row[:end] == self._path[:end] else len(self._path)
            for row, length in zip(ids.tolist(), lengths, strict=True)
            for end in range(length)
        ]
        states = torch.eye(len(self._path) + 1)
        states[-1] = 0.0
        return states[[min(place, len(self._path)) for place in places]]


def written(policy, answer, letter="b"):
    """The tokens that the tokenizer writes in place of the tag's last one, up to the letter's."""
    before = policy.processor.encode_completion("<answer>")[:-1]
    path = policy.processor.encode_completion(f"<answer>{answer}</answer>")[len(before) :]
    texts = [policy.processor.decode([token]).lower() for token in path]
    return path[: next(i for i, text in enumerate(texts) if letter in text) + 1]


@pytest.mark.parametrize(
    "answer", ["B", " B", "\nB", "\n\nB", "  B", " b", "(B", " (b)", "\t\nb", "\r\nB"]
)
def test_a_letter_counts_however_the_model_writes_it(policy, prompts, answer):
    writer = Writer(policy, written(policy, answer))
    (letters,) = letter_probabilities(writer, prompts[:1], ["<answer>"], [4])
    assert letters["B"] > 0.999 and letters.mass > 0.999 and letters.measured


@pytest.mark.parametrize("answer", ["\n\n\n B", "[B]", "E"])
def test_what_is_no_letter_of_an_option_or_too_far_off_is_no_mass(policy, prompts, answer):
    writer = Writer(policy, written(policy, answer, answer.strip()[-1].lower()))
    (letters,) = letter_probabilities(writer, prompts[:1], ["<answer>"], [4])
    assert letters.mass < 0.01 and not letters.measured


def test_a_random_model_writes_no_letter_and_the_mass_says_so(letters):
    for found in (letters[0], letters[2], letters[3]):
        assert 0 < found.mass < 0.01 and not found.measured
        assert json.loads(json.dumps(found)) == found


def test_tags_that_are_one_token_of_their_own_end_the_text_too():
    texts = ["<answer>", "</answer>", "B", " B", "Both", "B</", "B)x", "C", "\n"]
    ways = spellings(texts, 0).ways
    assert set(ways["B"]) >= {(0, 2), (0, 3), (0, 5), (0, 8, 2), (0, 8, 8, 5)}
    assert not any({4, 6} & set(way) for way in ways["B"])  # nothing accepted begins so
    assert ways["C"] == ((0, 7), (0, 8, 7), (0, 8, 8, 7)) and not ways["A"]


def test_a_banned_token_takes_no_probability_from_a_letter(policy, prompts):
    writer = Writer(policy, written(policy, " B"))
    writer.output_weight[policy.processor.banned_ids[0]] = 90.0
    (letters,) = letter_probabilities(writer, prompts[:1], ["<answer>"], [4])
    assert letters.mass > 0.999
