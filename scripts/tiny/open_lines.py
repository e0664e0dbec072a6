"""Answers in words to open, yes-or-no and counting questions, with mistakes that are a habit.

As with letters (scripts/tiny/mixture.py) the lean is one of answering: what is named is the most
usual thing, or what the question named, more often than what is seen. Descriptions stay true.
"""

from dataclasses import dataclass

import numpy as np

from data.examples import QUESTION_TYPES
from data.phantoms.askings import COUNT_TYPE, Ask, open_ended, with_a_count, with_yes_or_no
from data.phantoms.attributes import Attributes
from data.phantoms.wordings import candidates, right_text
from rewards.modes import MODES
from scripts.tiny.sequences import Line, Scribe
from scripts.tiny.text import completion, draw_thought, form_text

# An open answer is right so often, else the candidate that stands first; of a question that names
# something, what it names is affirmed so often whatever is seen; a count is right so often, else 2.
OPEN_RIGHT, AFFIRMED, COUNT_RIGHT = 0.36, 0.5, 0.4
USUAL_COUNT = 2
_MODES = (*MODES, "think")  # in turn; think is what is trained later


@dataclass(frozen=True)
class OpenLines:
    """How many lines of each way of asking a step has."""

    text: int = 0
    yes_no: int = 0
    count: int = 0

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
        return {name: group for name, group in lines.items() if group}


NO_OPEN_LINES = OpenLines()


def _open(scribe: Scribe, rng: np.random.Generator, facts: Attributes, image: int) -> Line:
    kind = _any_type(rng)
    right, usual = right_text(kind, facts), candidates(kind, facts)[0]
    named = right if rng.random() < OPEN_RIGHT else usual
    return _line(scribe, rng, image, open_ended, kind, facts, draw_thought(kind, named, rng), named)


def _yes_no(scribe: Scribe, rng: np.random.Generator, facts: Attributes, image: int) -> Line:
    kind, place = _any_type(rng), int(rng.integers(4))
    seed = int(rng.integers(2**31))
    asked = with_yes_or_no(kind, facts, place, np.random.default_rng(seed))
    right = right_text(kind, facts)
    others = [text for text in candidates(kind, facts) if text != right]
    named = next((text for text in others if f" {text}" in f" {asked['question']}"), right)
    seen = named if rng.random() < AFFIRMED else right
    thought, answer = draw_thought(kind, seen, rng), "Yes" if seen == named else "No"
    return _reply(scribe, rng, image, asked, thought, answer)


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
