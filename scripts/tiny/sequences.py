"""Training sequences: an image, a question, and what to learn from the reply.

Shapes: B sequences of at most T tokens; each shows one of U images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from data.phantoms.wordings import WORDINGS, draw_options
from scripts.tiny.text import (
    DESCRIBE,
    OPTION_NAMES,
    completion,
    description,
    draw_thought,
    user_text,
)

VISUAL_TOKENS = 9


@dataclass(frozen=True)
class Line:
    """A prompt and replies to it that do not see each other; ``image`` counts within the batch.

    ``learned`` says for each token whether it is to be predicted, ``reply`` which reply it belongs
    to, the prompt being 0.
    """

    ids: list[int]
    learned: list[bool]
    reply: list[int]
    image: int


@dataclass(frozen=True)
class Batch:
    """Right-padded lines; ``visible`` is None where every token sees all those before it."""

    ids: Tensor  # (B, T)
    learned: Tensor  # (B, T)
    image: Tensor  # (B,)
    positions: Tensor  # (3, B, T)
    visible: Tensor | None  # (B, 1, T, T)


class Scribe:
    """Writes lines in the chat format, exactly as a prompt of the main job is written."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.encode = lru_cache(maxsize=200_000)(lambda text: tuple(tokenizer.encode(text).ids))
        self.head = self.encode(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "<|vision_start|>" + "<|image_pad|>" * VISUAL_TOKENS + "<|vision_end|>"
        )
        self.first_visual = self.head.index(tokenizer.token_to_id("<|image_pad|>"))
        self.turn = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self.end = self.encode("<|im_end|>")

    def prompt(self, text: str) -> list[int]:
        return [*self.head, *self.encode(text), *self.turn]

    def describe(self, attributes, image: int, rng: np.random.Generator) -> Line:
        """The image's five attributes in a sentence; all of it is learned."""
        prompt = self.prompt(DESCRIBE[rng.integers(len(DESCRIBE))])
        return line_of(prompt, [[*self.encode(description(attributes)), *self.end]], image)

    def drill(self, mode: str, question, image: int, rng: np.random.Generator, pairs: int) -> Line:
        """Options, then pairs of a thought that names one of them at random and its letter.

        Only the second half of each pair is learned: the letter of a named option (think), or
        the option that belongs to a letter (think_after). The image says nothing here.
        """
        kind, text, options = question
        replies: list[list[int]] = []
        targets: list[int] = []
        for _ in range(pairs):
            choice = rng.integers(len(options))
            letter = ascii_uppercase[choice]
            reply = completion(mode, draw_thought(kind, options[choice], rng), letter)
            replies.append([*self.encode(reply), *self.end])
            targets += self.encode(letter if mode == "think" else " " + options[choice])
        return line_of(self.prompt(user_text(mode, text, options)), replies, image, targets)

    def match(self, question, image: int, rng: np.random.Generator, pairs: int) -> Line:
        """Options, then bare pairs: an option and its letter, or the other way round.

        The simplest form of the drill. A model that starts with it learns the rest in minutes.
        """
        _, text, options = question
        replies, targets = [], []
        for _ in range(pairs):
            choice = rng.integers(len(options))
            pair = [*self.encode(" " + options[choice]), *self.encode(ascii_uppercase[choice])]
            replies.append(pair if rng.random() < 0.75 else pair[::-1])
            targets.append(replies[-1][1])
        prompt = self.prompt(user_text("think", text, options))
        return line_of(prompt, replies, image, targets)

    def answer(self, mode: str, question, choice: int, image: int, rng) -> Line:
        """One question and a completion that names option ``choice``; the completion is learned."""
        kind, text, options = question
        thought = draw_thought(kind, options[choice], rng)
        said = completion(mode, thought, ascii_uppercase[choice])
        return self.reply(user_text(mode, text, options), said, image)

    def reply(self, text: str, said: str, image: int) -> Line:
        """One turn of the user's and a completion, all of which is learned."""
        return line_of(self.prompt(text), [[*self.encode(said), *self.end]], image)

    def collate(self, lines: Sequence[Line]) -> Batch:
        length = max(len(line.ids) for line in lines)
        ids, reply = torch.zeros(2, len(lines), length, dtype=torch.long)
        learned = torch.zeros(len(lines), length, dtype=torch.bool)
        for row, line in enumerate(lines):
            used = slice(len(line.ids))
            ids[row, used] = torch.tensor(line.ids)
            learned[row, used] = torch.tensor(line.learned)
            reply[row, used] = torch.tensor(line.reply)
        # A reply's first token follows the prompt's last one, whatever stands between them.
        starts = (reply[:, 1:] != reply[:, :-1]) & (reply[:, 1:] > 1)
        later = torch.arange(1, length) - (reply == 0).sum(dim=1, keepdim=True)
        jump = torch.zeros_like(ids)
        jump[:, 1:] = torch.where(starts, later, 0).cummax(dim=1).values
        positions = self.positions(length)[:, None] - jump  # (3, B, T)
        image = torch.tensor([line.image for line in lines])
        return Batch(ids, learned, image, positions, _visible(reply))

    def positions(self, length: int) -> Tensor:
        """Return (3, length): time, row and column of each token, as Qwen2-VL counts them."""
        side = int(VISUAL_TOKENS**0.5)
        first, after = self.first_visual, self.first_visual + VISUAL_TOKENS
        positions = torch.arange(length).expand(3, length).clone()
        patch = torch.arange(VISUAL_TOKENS)
        grid = torch.stack([patch * 0, patch // side, patch % side])
        positions[:, first:after] = first + grid
        positions[:, after:] -= VISUAL_TOKENS - side
        return positions


def line_of(prompt: list[int], replies: list[list[int]], image: int, targets=None) -> Line:
    """Return a line that learns all of its replies, or in each one its target token only."""
    ids, learned, reply = list(prompt), [False] * len(prompt), [0] * len(prompt)
    for number, tokens in enumerate(replies):
        ids += tokens
        learned += [targets is None or token == targets[number] for token in tokens]
        reply += [number + 1] * len(tokens)
    return Line(ids, learned, reply, image)


def _visible(reply: Tensor) -> Tensor | None:
    """Return (B, 1, T, T): a token sees the prompt and its own reply up to itself."""
    if reply.max() <= 1:
        return None
    own = (reply[:, None, :] == 0) | (reply[:, None, :] == reply[:, :, None])
    return own.tril()[:, None]


def any_question(attributes, rng: np.random.Generator, kinds: Sequence[str] = tuple(WORDINGS)):
    """Return (type, wording, options) of a random question, and the right option's index."""
    kind = kinds[int(rng.integers(len(kinds)))]
    wording = WORDINGS[kind][rng.integers(len(WORDINGS[kind]))]
    right = int(rng.integers(4))
    return (kind, wording, draw_options(kind, attributes, right, rng)), right


def mixed_question(rng: np.random.Generator):
    """Return (type, wording, options) with options of all types: binding, not habit."""
    kind = tuple(WORDINGS)[rng.integers(len(WORDINGS))]
    wording = WORDINGS[kind][rng.integers(len(WORDINGS[kind]))]
    return kind, wording, tuple(str(name) for name in rng.permutation(OPTION_NAMES)[:4])
