"""The three ways to answer: the tags each one writes, and the sentence that asks for them.

Prompts (data/prompts.py) and the parser (rewards/parsing.py) read the same table, so a mode can
never be asked for in one form and scored in another. A new mode is one entry of it: flags, prompts,
parser, evaluations and protocols take it from here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A named sequence of tags; ``<answer>`` is always one of them."""

    name: str
    tags: tuple[str, ...]  # in the order in which a completion must write them
    # What stands below question and options, and asks for these tags; {answer_form} is what the
    # question's form asks for (rewards/forms/), such as "one letter".
    sentence: str

    @property
    def thinks(self) -> bool:
        """Whether a thought is part of the completion, before or after the answer."""
        return "think" in self.tags

    @property
    def letter_follows_thought(self) -> bool:
        """Whether a thought stands before the letter, so that the letter can depend on it."""
        return "think" in self.tags[: self.tags.index("answer")]


# Med-R1 (arXiv:2503.13939): Think reasons first, No-Think only answers, Think-After answers first
# and gives the rationale behind it.
MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode(
            "think",
            ("think", "answer"),
            "Reason inside <think></think>, then give {answer_form} inside <answer></answer>.",
        ),
        Mode(
            "no_think",
            ("answer",),
            "Give {answer_form} inside <answer></answer> and nothing else.",
        ),
        Mode(
            "think_after",
            ("answer", "think"),
            "Give {answer_form} inside <answer></answer>,"
            " then your reasons inside <think></think>.",
        ),
    )
}


def get_mode(name: str) -> Mode:
    """Return the mode called ``name``; an unknown name is a ValueError that lists the known ones.

    >>> after = get_mode("think_after")
    >>> after.tags, after.thinks, after.letter_follows_thought
    (('answer', 'think'), True, False)
    """
    if name not in MODES:
        raise ValueError(f"unknown mode {name!r}: use one of {', '.join(MODES)}")
    return MODES[name]
