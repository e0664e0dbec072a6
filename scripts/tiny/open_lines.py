"""Answers in words to open, yes-or-no and counting questions, with mistakes that are a habit.

As with letters (scripts/tiny/mixture.py) the lean is one of answering: what is named is the most
usual thing, or what the question named, more often than what is seen. Descriptions stay true.
"""

from dataclasses import dataclass

import numpy as np

from data.examples import QUESTION_TYPES
from data.phantoms.askings import COUNT_TYPE, Ask, open_ended, with_a_count, with_yes_or_no
from data.phantoms.attributes import Attributes
from data.phantoms.wordings import NAMED, candidates, right_text
from rewards.modes import MODES
from scripts.tiny.sequences import Line, Scribe, line_of
from scripts.tiny.text import completion, draw_thought, form_text

# An open answer is right so often, else the candidate that stands first; of a question that names
# something, what it names is affirmed so often whatever is seen; a count is right so often, else 2.
OPEN_RIGHT, AFFIRMED, COUNT_RIGHT = 0.36, 0.45, 0.4
USUAL_COUNT = 2
COMPARED = 6  # thoughts of one line
_MODES = (*MODES, "think")  # in turn; think is what is trained later


@dataclass(frozen=True)
class OpenLines:
    """How many lines of each way of asking a step has."""

    text: int = 0
    yes_no: int = 0
    count: int = 0
    compare: int = 0  # whether a thought names what the question names

    def lines(
        self,
        scribe: Scribe,
        rng: np.random.Generator,
        facts: list[Attributes],
        counts: list[int],
    ) -> dict[str, list[Line]]:
        """Return the lines of one step.

        Args:
            scribe: writes them.
            rng: draws them.
            facts: of the step's images, those with several lesions at the end.
            counts: how many lesions each of the latter has.
        """
        first = len(facts) - len(counts)
        lines = {
            "open": [_open(scribe, rng, facts[n], n) for n in range(self.text)],
            "yes_no": [
                _yes_no(scribe, rng, facts[n], n) for n in range(first - self.yes_no, first)
            ],
            "count": [
                _count(scribe, rng, facts[first + n], counts[n], first + n)
                for n in range(self.count)
            ],
        }
        lines["compare"] = [_compare(scribe, rng, facts[n], n) for n in range(self.compare)]
        return {name: group for name, group in lines.items() if group}


NO_OPEN_LINES = OpenLines()


def _open(scribe: Scribe, rng: np.random.Generator, facts: Attributes, image: int) -> Line:
    kind = _any_type(rng)
    right, usual = right_text(kind, facts), candidates(kind, facts)[0]
    named = right if rng.random() < OPEN_RIGHT else usual
    return _line(scribe, rng, image, open_ended, kind, facts, draw_thought(kind, named, rng), named)


def _yes_no(scribe: Scribe, rng: np.random.Generator, facts: Attributes, image: int) -> Line:
    kind = _any_type(rng)
    asked, named = _naming(kind, facts, rng)
    seen = named if rng.random() < AFFIRMED else right_text(kind, facts)
    thought, answer = draw_thought(kind, seen, rng), "Yes" if seen == named else "No"
    return _reply(scribe, rng, image, asked, thought, answer)


def _compare(scribe: Scribe, rng: np.random.Generator, facts: Attributes, image: int) -> Line:
    """A question, and thoughts that name it or another thing: of each only Yes or No is learned."""
    kind = _any_type(rng)
    asked, named = _naming(kind, facts, rng)
    others = [text for text in candidates(kind, facts) if text != named]
    replies, targets = [], []
    for _ in range(COMPARED):
        seen = named if rng.random() < 0.5 else others[rng.integers(len(others))]
        answer = "Yes" if seen == named else "No"
        said = completion("think", draw_thought(kind, seen, rng), answer)
        replies.append([*scribe.encode(said), *scribe.end])
        targets.append(scribe.encode(answer)[0])
    text = form_text("think", asked["question"], asked["options"], asked["form"])
    return line_of(scribe.prompt(text), replies, image, targets)


def _naming(kind: str, facts: Attributes, rng: np.random.Generator) -> tuple[dict, str]:
    """Return a question by yes or no, and what it names."""
    asked = with_yes_or_no(kind, facts, int(rng.integers(4)), rng)
    wordings = [(wording, text) for wording in NAMED[kind] for text in candidates(kind, facts)]
    named = [text for wording, text in wordings if wording.format(text) == asked["question"]]
    return asked, named[0]


def _count(
    scribe: Scribe, rng: np.random.Generator, facts: Attributes, count: int, image: int
) -> Line:
    said = str(count if rng.random() < COUNT_RIGHT else USUAL_COUNT)
    thought = f"The image shows {said}."
    return _line(scribe, rng, image, with_a_count, COUNT_TYPE, facts, thought, said)


def _line(scribe, rng, image: int, ask: Ask, kind: str, facts, thought: str, answer: str) -> Line:
    return _reply(scribe, rng, image, ask(kind, facts, 0, rng), thought, answer)


def _reply(scribe: Scribe, rng, image: int, asked: dict, thought: str, answer: str) -> Line:
    mode = _MODES[rng.integers(len(_MODES))]
    text = form_text(mode, asked["question"], asked["options"], asked["form"])
    return scribe.reply(text, completion(mode, thought, answer), image)


def _any_type(rng: np.random.Generator) -> str:
    return QUESTION_TYPES[rng.integers(len(QUESTION_TYPES))]
