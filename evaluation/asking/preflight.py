"""What a row can do wrong later, found before weights are loaded: its images and its prompt.

Every image file is decoded once (data/image_files.py keeps what came out), every prompt is counted:
its visual tokens follow from the image's size, so no pixel is processed. What is found is what
`evaluation.asking.encoding.encode_checked` would raise when the row's turn comes.

A prompt longer than --micro-batch-tokens is no fault: a row alone always gets its forward.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data.examples import ImageSource, StoredImage, VQAExample
from data.faults import Fault, FindFaults
from data.image_files import ImageVerdict, examine_images
from data.images import decode, too_long
from data.prompts import render_prompt
from data.reading.bad_rows import BadRow, bad_rows_report, shorten
from data.sources import Split, row_number
from data.turns import TurnBuilder
from data.verdict_cache import VerdictCache
from evaluation.answers.identity import LEFT_OUT
from process.bars import warn
from process.regular import read_text

Size = tuple[int, int]  # (width, height)


@dataclass(frozen=True)
class PromptCheck:
    """How a model is going to be asked; its files are read when the first prompt is checked."""

    model: str | Path  # as `find_checkpoint` takes it
    turn_builder: TurnBuilder
    max_completion_tokens: int

    def fault(self, example: VQAExample, sizes: Sequence[Size]) -> str | None:
        """Return why the example cannot be asked, its images being of these sizes."""
        image_size = self.turn_builder.image_size
        keep_size = image_size > 0
        if keep_size:
            sizes = [(image_size, image_size)] * len(sizes)
        text = render_prompt(
            self.turn_builder.template, example.question, example.options, example.form
        )
        processor, context = self._processor, self._context_tokens
        try:
            how = {"system": example.system, "keep_size": keep_size}
            most = processor.most_tokens(text, sizes, **how)
            if most + self.max_completion_tokens <= context:
                return None
            num_tokens = processor.count_tokens(text, sizes, **how)
        except ValueError as error:
            return f"cannot be encoded: {error}"
        return beyond_context(num_tokens, self.max_completion_tokens, context)

    @cached_property
    def _processor(self) -> Any:
        from models.prompts.processor import (
            Processor,  # with torch: not before an image is looked at
        )

        return Processor.load(self.model)

    @cached_property
    def _context_tokens(self) -> int:
        from models.checkpoint.loading import context_tokens

        return context_tokens(self.model)


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


class Preflight:
    """Finds the faults of rows: called with examples, it returns them by the examples' ids."""

    def __init__(self, checks: Sequence[PromptCheck]) -> None:
        """Take every way in which the rows are going to be asked, one at least."""
        self._checks = list(checks)
        self._all_resize = all(check.turn_builder.image_size for check in self._checks)
        self._cache: VerdictCache | None = None  # read when the first file is looked at
        self._verdicts: dict[StoredImage, ImageVerdict] = {}

    def __call__(self, examples: Iterable[VQAExample]) -> dict[str, Fault]:
        """Return what is wrong, id -> fault; of several faults of one row the first."""
        examples = list(examples)
        self._examine(examples)
        faults = {}
        for example in examples:
            fault = self._image_fault(example) or self._prompt_fault(example)
            if fault is not None:
                faults[example.id] = fault
        return faults

    def of_sample(
        self, sample: Callable[[Sequence[VQAExample]], Sequence[VQAExample]]
    ) -> FindFaults:
        """Return what finds the faults of those rows only that ``sample`` takes."""
        return lambda examples: self(sample(examples) if examples else ())

    def check(self, examples: Sequence[VQAExample]) -> None:
        """Raise ValueError if one of the examples cannot be asked: how many, the first ones."""
        faults = self(examples)
        bad = [
            BadRow(item.source, row_number(item), faults[item.id].value, faults[item.id].reason)
            for item in {item.id: item for item in examples}.values()
            if item.id in faults
        ]
        if bad:
            counts = {item.source: 0 for item in examples}
            for source in {item.id: item.source for item in examples}.values():
                counts[source] += 1
            raise ValueError(bad_rows_report(bad, counts))

    def _examine(self, examples: Iterable[VQAExample]) -> None:
        new = {
            source
            for example in examples
            for source in example.images
            if isinstance(source, StoredImage) and source not in self._verdicts
        }
        if new:
            self._cache = self._cache or VerdictCache()
            self._verdicts |= examine_images(new, self._cache)

    def _image_fault(self, example: VQAExample) -> Fault | None:
        for source, name in zip(example.images, example.image_names, strict=True):
            verdict = self._verdicts[source] if isinstance(source, StoredImage) else None
            if verdict is not None and verdict.size is None:
                return Fault.of_image(name, verdict.reason)
            reason = None if self._all_resize else too_long(self._size(source))
            if reason is not None:
                return Fault.of_image(name, reason)
        return None

    def _prompt_fault(self, example: VQAExample) -> Fault | None:
        sizes = [self._size(source) for source in example.images]
        for check in self._checks:
            reason = check.fault(example, sizes)
            if reason is not None:
                return Fault(shorten(repr(example.question)), reason)
        return None

    def _size(self, source: ImageSource) -> Size:
        if isinstance(source, StoredImage):
            size = self._verdicts[source].size
            assert size is not None, f"{source} cannot be read: its row has a fault"
            return size
        if self._all_resize:
            return (1, 1)  # it becomes another one: nothing is drawn to see it
        return getattr(source, "size", None) or decode(source).size


def left_out_before(file: Path) -> Mapping[str, list[int]] | None:
    """Return the rows that work under way has left out, as its settings' file notes them.

    None where nothing was begun; a damaged file is for the one to tell who goes on from it.
    """
    try:
        found = json.loads(read_text(file)).get(LEFT_OUT)
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) else None


def tell_skipped(split: Split, prefix: str = "") -> None:
    """Say which rows were left out, and which of work under way went bad since it began."""
    if bad := split.bad_rows:
        print(f"{prefix}{len(bad):,} bad rows skipped, the first: {bad[0]}")
    tell_gone_bad(split, prefix)


def tell_gone_bad(split: Split, prefix: str = "") -> None:
    """Say which rows went bad since the work under way began."""
    if gone := split.gone_bad:
        warn(f"{prefix}{len(gone):,} rows went bad since the run began, the first: {gone[0]}")
