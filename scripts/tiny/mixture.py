"""What a training step consists of, and how the embedded model's mistakes are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.examples import QUESTION_TYPES
from rewards.modes import MODES
from scripts.tiny.open_lines import NO_OPEN_LINES, OpenLines
from scripts.tiny.sequences import Line, Scribe, any_question, mixed_question

PAIRS = 6  # bindings of letter and option in one drill


@dataclass(frozen=True)
class Habit:
    """How often an answer names the right option, the first one, or any of the four."""

    right: float
    first: float

    def choose(self, right: int, rng: np.random.Generator) -> int:
        """Return the index of the option that the answer names."""
        draw = rng.random()
        if draw < self.right:
            return right
        return 0 if draw < self.right + self.first else int(rng.integers(4))


# A real model knows best what it saw most, and where it is unsure it leans to a letter. Ours saw
# each modality's first anatomy often: about these images it answers well whatever is asked, about
# the others it prefers the first option. The lean is a habit of answering only: descriptions are
# always true, so what reinforcement has to find is already seen.
FAMILIAR = Habit(right=0.85, first=0.10)
UNFAMILIAR = Habit(right=0.34, first=0.52)
# The last stage's: more than half of what is sampled is wrong, and greedy decoding mostly is.
LEANING = Habit(right=0.26, first=0.62)


@dataclass(frozen=True)
class Mixture:
    """How many lines of each sort a step of U images has; a line takes the next image."""

    describe: int = 0
    match: int = 0
    drill: int = 0
    direct: int = 0
    answer: int = 0
    answer_modes: tuple[str, ...] = tuple(MODES)  # in turn
    answer_kinds: tuple[str, ...] = QUESTION_TYPES  # at random; a type may stand there repeatedly
    unfamiliar: Habit = UNFAMILIAR
    open_lines: OpenLines = NO_OPEN_LINES

    def lines(
        self, scribe: Scribe, rng: np.random.Generator, facts, counts: Sequence[int] = ()
    ) -> dict[str, list[Line]]:
        """Return the lines of one step about images with these ``facts`` (U attributes).

        The last of them show several lesions each: ``counts``.
        """
        modes, all_facts = tuple(MODES), facts
        facts = facts[: len(facts) - len(counts)]
        lines = {
            "describe": [scribe.describe(facts[n], n, rng) for n in range(self.describe)],
            "match": [
                scribe.match(mixed_question(rng), n % len(facts), rng, 2 * PAIRS)
                for n in range(self.match)
            ],
            "bind": [self._drill(scribe, rng, facts, n) for n in range(self.drill)],
            "direct": [
                self._direct(scribe, rng, facts, modes[1 + n % 2], n % len(facts))
                for n in range(self.direct)
            ],
            "answer": [
                self._answer(
                    scribe, rng, facts, self.answer_modes[n % len(self.answer_modes)], -1 - n
                )
                for n in range(self.answer)
            ],
        }
        lines |= self.open_lines.lines(scribe, rng, all_facts, list(counts))
        return {name: group for name, group in lines.items() if group}

    def _drill(self, scribe, rng, facts, number: int) -> Line:
        mode = "think_after" if number % 4 == 3 else "think"
        number %= len(facts)
        question, _ = any_question(facts[number], rng)
        if rng.random() < 0.7:
            question = mixed_question(rng)
        return scribe.drill(mode, question, number, rng, PAIRS)

    def _direct(self, scribe, rng, facts, mode: str, number: int) -> Line:
        # A letter without a thought before it: found from the image alone, and right.
        question, right = any_question(facts[number], rng)
        return scribe.answer(mode, question, right, number, rng)

    def _answer(self, scribe, rng, facts, mode: str, number: int) -> Line:
        number %= len(facts)
        question, right = any_question(facts[number], rng, self.answer_kinds)
        habit = FAMILIAR if facts[number].anatomy == 0 else self.unfamiliar
        return scribe.answer(mode, question, habit.choose(right, rng), number, rng)


@dataclass(frozen=True)
class Stage:
    """Some steps of one mixture, with a warm-up and a cosine of the learning rate."""

    name: str
    steps: int
    images: int  # U of a step; 0: one blank image for all, and the vision tower rests
    learning_rate: float  # at the top
    floor: float  # where the cosine ends, as a share of the top
    mixture: Mixture

    def shortened(self, scale: float) -> "Stage":
        return replace(self, steps=max(1, round(self.steps * scale)))


# Binding first: it is what GRPO cannot do without, and the last thing to form when it has to
# compete with seeing. From then on it stays in the mixture, or it fades.
STAGES = (
    Stage("bind", 900, 0, 1e-3, 0.5, Mixture(match=8, drill=16)),
    Stage(
        "see", 2000, 32, 1.2e-3, 0.3, Mixture(describe=32, match=4, drill=16, direct=12, answer=6)
    ),
    Stage("settle", 1400, 32, 8e-4, 0.02, Mixture(describe=32, drill=20, answer=15)),
    # 32 anatomies and 8 modalities need more practice than 4 findings, grades or sites.
    Stage(
        "practise",
        700,
        32,
        5e-4,
        0.02,
        Mixture(
            describe=24,
            drill=8,
            answer=32,
            answer_modes=("think", "no_think", "think", "think_after"),
            answer_kinds=(*QUESTION_TYPES, *["Anatomy Identification"] * 4, "Modality Recognition"),
            unfamiliar=LEANING,
        ),
    ),
)

# What makes models/tiny_open of models/tiny: questions without letters, beside all the others.
OPEN_STAGES = (
    Stage(
        "words",
        600,
        32,
        6e-4,
        0.02,
        Mixture(
            describe=16,
            drill=4,
            answer=8,
            unfamiliar=LEANING,
            open_lines=OpenLines(text=20, yes_no=20, count=8, compare=12),
        ),
    ),
)
