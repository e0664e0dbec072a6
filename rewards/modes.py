"""The three ways to answer, and the tags each one writes.

Prompts (data/prompts.py) and the parser (rewards/parsing.py) read the same table, so a mode can
never be asked for in one form and scored in another.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A named sequence of tags; ``<answer>`` is always one of them."""

    name: str
    tags: tuple[str, ...]  # in the order in which a completion must write them

    @property
    def thinks(self) -> bool:
        """Whether a thought is part of the completion, before or after the answer."""
        return "think" in self.tags


# Med-R1 (arXiv:2503.13939): Think reasons first, No-Think only answers, Think-After answers first
# and gives the rationale behind it.
MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode("think", ("think", "answer")),
        Mode("no_think", ("answer",)),
        Mode("think_after", ("answer", "think")),
    )
}


def get_mode(name: str) -> Mode:
    """Return the mode called ``name``; an unknown name is a ValueError that lists the known ones.

    >>> get_mode("think_after").tags
    ('answer', 'think')
    """
    if name not in MODES:
        raise ValueError(f"unknown mode {name!r}: use one of {', '.join(MODES)}")
    return MODES[name]
