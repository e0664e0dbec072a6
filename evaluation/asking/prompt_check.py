"""How a model is going to be asked, as far as a row's prompt can be too long or impossible."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from data.examples import VQAExample
from data.prompts import render_prompt
from data.turns import TurnBuilder

Size = tuple[int, int]  # (width, height)

_REMEMBERED = 20_000  # texts whose tokens are known: many rows ask the same words


@dataclass(frozen=True)
class PromptCheck:
    """How a model is going to be asked; its files are read when the first prompt is checked."""

    model: str | Path  # as `find_checkpoint` takes it
    turn_builder: TurnBuilder
    max_completion_tokens: int
    _known: dict[tuple[str, str, int], int] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def look(
        self, example: VQAExample, sizes: Sequence[Size], *, exactly: bool = False
    ) -> tuple[int, str | None]:
        """Return how many tokens the prompt has, and why it cannot be asked, if it cannot.

        Args:
            example: the row.
            sizes: of its images.
            exactly: count the tokens; else a bound will do wherever that is not too long.
        """
        text, sizes = self._text(example), self._asked_sizes(sizes)
        how: dict[str, Any] = {"system": example.system, "keep_size": self._keeps_size}
        most = self.max_completion_tokens
        try:
            tokens = 0 if exactly else self._processor.most_tokens(text, sizes, **how)
            if exactly or tokens + most > self.context_tokens:
                tokens = self._count(text, example.system, sizes)
        except ValueError as error:
            return 0, f"cannot be encoded: {error}"
        return tokens, beyond_context(tokens, most, self.context_tokens)

    def answer_tokens(self, text: str) -> int:
        """Return how many tokens a whole completion has, its end included."""
        return len(self._processor.encode_completion(text)) + 1

    def written(self, example: VQAExample) -> str:
        """Return the turns as the chat template writes them, a placeholder for each image."""
        chat = self._processor.chat
        return chat.written(self._text(example), len(example.images), example.system)

    def seen(self, sizes: Sequence[Size]) -> list[tuple[Size, int]]:
        """Return the size in which the model sees each image, and its visual tokens."""
        from models.prompts.image_processor import seen_size

        processor, keep_size = self._processor, self._keeps_size
        return [
            (
                seen_size(processor.image_processor, size, keep_size=keep_size),
                processor.image_tokens([size], keep_size=keep_size),
            )
            for size in self._asked_sizes(sizes)
        ]

    @cached_property
    def context_tokens(self) -> int:
        """How many tokens the model takes, prompt and completion together."""
        from models.checkpoint.loading import context_tokens

        return context_tokens(self.model)

    @cached_property
    def _processor(self) -> Any:
        # with torch: not before an image is looked at
        from models.prompts.processor import Processor

        return Processor.load(self.model)

    @property
    def _keeps_size(self) -> bool:
        return self.turn_builder.image_size > 0

    def _asked_sizes(self, sizes: Sequence[Size]) -> Sequence[Size]:
        side = self.turn_builder.image_size
        return [(side, side)] * len(sizes) if self._keeps_size else sizes

    def _text(self, example: VQAExample) -> str:
        template = self.turn_builder.template
        return render_prompt(template, example.question, example.options, example.form)

    def _count(self, text: str, system: str, sizes: Sequence[Size]) -> int:
        processor, key = self._processor, (text, system, len(sizes))
        images = processor.image_tokens(sizes, keep_size=self._keeps_size)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = (
                processor.count_tokens(text, sizes, system=system, keep_size=self._keeps_size)
                - images
            )
        return self._known[key] + images


def beyond_context(num_tokens: int, max_completion_tokens: int, context: int) -> str | None:
    """Return why a prompt of so many tokens leaves no room for its completion, or None.

    >>> beyond_context(1792, 256, context=2048) is None
    True
    >>> beyond_context(1793, 256, context=2048)[:61]
    'has a prompt of 1793 tokens, which with 256 of completion exc'
    """
    if num_tokens + max_completion_tokens <= context:
        return None
    return (
        f"has a prompt of {num_tokens} tokens, which with {max_completion_tokens} of completion"
        f" exceed the model's context of {context}: lower --max-completion-tokens or --image-size"
        " (nothing is truncated)"
    )
