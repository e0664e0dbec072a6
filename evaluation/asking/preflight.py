"""What a row can do wrong later, found before weights are loaded: its images and its prompt.

Every image file is decoded once (data/image_files.py keeps what came out), every prompt is counted:
its visual tokens follow from the image's size, so no pixel is processed. What is found is what
`evaluation.asking.encoding.encode_checked` would raise when the row's turn comes.

A prompt longer than --micro-batch-tokens is no fault: a row alone always gets its forward.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from data.examples import ImageSource, StoredImage, VQAExample
from data.faults import Fault, FindFaults
from data.image_files import ImageVerdict, examine_images
from data.images import decode, too_long
from data.named import is_phantoms
from data.reading.bad_rows import BadRow, bad_rows_report, shorten
from data.source import row_number
from data.sources import Split
from data.verdict_cache import VerdictCache
from evaluation.answers.identity import LEFT_OUT
from evaluation.asking.prompt_check import PromptCheck, Size
from process.bars import bar, warn
from process.regular import read_text
from process.signals import end_if_asked, interruptible

_SILENT = 2.0  # seconds after which a check shows how far it is


class Preflight:
    """Finds the faults of rows: called with examples, it returns them by the examples' ids."""

    def __init__(self, checks: Sequence[PromptCheck], *, measures: bool = False) -> None:
        """Take every way in which the rows are going to be asked, one at least.

        Args:
            checks: one for each model.
            measures: count the tokens of every prompt, and keep their numbers for `lengths`.
        """
        self.checks = list(checks)
        self._measures = measures
        # source, as a split counts its rows -> id -> tokens
        self._lengths: dict[str, dict[str, int]] = defaultdict(dict)
        self._all_resize = all(check.turn_builder.image_size for check in self.checks)
        self._cache: VerdictCache | None = None  # read when the first file is looked at
        self._verdicts: dict[StoredImage, ImageVerdict] = {}

    @interruptible()
    def __call__(self, examples: Iterable[VQAExample]) -> dict[str, Fault]:
        """Return what is wrong, id -> fault; of several faults of one row the first."""
        examples = list(examples)
        self._examine(examples)
        faults = {}
        with bar(
            total=len(examples), desc="checking prompts", unit="row", delay=_SILENT, leave=False
        ) as progress:
            for example in examples:
                end_if_asked()
                fault = self._image_fault(example) or self._prompt_fault(example)
                if fault is not None:
                    faults[example.id] = fault
                progress.update()
        return faults

    def of_sample(
        self, sample: Callable[[Sequence[VQAExample]], Sequence[VQAExample]]
    ) -> FindFaults:
        """Return what finds the faults of those rows only that ``sample`` takes."""
        return lambda examples: self(sample(examples) if examples else ())

    def lengths(self, split: Split) -> list[int]:
        """Return the tokens of all prompts of a split that were counted, bad rows' among them.

        Of several models it is the longest prompt.
        """
        counted = (self._lengths[label].values() for label in split.counts)
        return [tokens for some in counted for tokens in some if tokens]

    def sizes(self, example: VQAExample) -> list[Size]:
        """Return the (width, height) of a good row's images as they are."""
        return [
            self._size(source)
            if isinstance(source, StoredImage)
            else getattr(source, "size", None) or decode(source).size
            for source in example.images
        ]

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
        lengths = self._lengths[_label(example)] if self._measures else {}
        for check in self.checks:
            tokens, reason = check.look(example, sizes, exactly=self._measures)
            lengths[example.id] = max(tokens, lengths.get(example.id, 0))
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


def _label(example: VQAExample) -> str:
    # of phantoms, which have one source, each part has a name in the ids
    source = example.source
    return example.id.rpartition("-")[0] if is_phantoms(source) else source


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
    if note := split.only.note():
        print(f"{prefix}{note}")
    if bad := split.bad_rows:
        print(f"{prefix}{len(bad):,} bad rows skipped, the first: {bad[0]}")
    tell_gone_bad(split, prefix)


def tell_gone_bad(split: Split, prefix: str = "") -> None:
    """Say which rows went bad since the work under way began."""
    if gone := split.gone_bad:
        warn(f"{prefix}{len(gone):,} rows went bad since the run began, the first: {gone[0]}")
