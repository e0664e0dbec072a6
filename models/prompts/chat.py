"""A checkpoint's chat template, and what it has been found to write around texts."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.prompts.turns import Turns, system_and_user_turn, user_turn


@dataclass(frozen=True)
class Chat:
    """A chat template; it is rendered once in a process for each kind of turn.

    A check of all rows before a run thus renders what the run's own threads need, and which no
    thread should have to: it forks (process/apart.py).
    """

    template: str
    file: Path  # where it stood
    special_tokens: tuple[tuple[str, str], ...]  # what the template knows of the tokenizer
    control_tokens: tuple[str, ...]  # such as <|im_end|>: no text may hold one
    tokenizer: Any = field(compare=False, repr=False)

    def check(self, *texts: str) -> None:
        """Raise a ValueError for a control token: it would end the turn, or stand for an image."""
        for token in self.control_tokens:
            for text in texts:
                if token in text:
                    place = text.index(token)
                    raise ValueError(
                        f"the text holds {token}, which the tokenizer reads as a special token, in"
                        f" {text[max(0, place - 40) : place + len(token) + 40]!r}: remove it"
                    )

    def written(self, text: str, num_images: int, system: str = "") -> str:
        """Return a user's turn as the template writes it, with a placeholder for each image.

        Args:
            text: of the user's turn, after its images.
            num_images: of the user's turn.
            system: what a system's turn before it says; "": none, but what the template adds.

        Raises:
            ValueError: as `user_turn` and `system_and_user_turn`.
        """
        turns = _turns(self, num_images, bool(system))
        if isinstance(turns, str):
            raise ValueError(turns)
        return turns.of(system, text) if system else turns.of(text)


@lru_cache(maxsize=64)
def _turns(chat: Chat, num_images: int, with_system: bool) -> Turns | str:
    """Return what is written around the texts, or what is wrong: that too is asked for each row."""
    turns = system_and_user_turn if with_system else user_turn
    try:
        return turns(chat.template, chat.file, chat.tokenizer, num_images)
    except ValueError as error:
        return str(error)
