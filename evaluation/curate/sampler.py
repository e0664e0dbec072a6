"""Samples rows with their image and with it blank, and counts the right ones: the model's part.

Rows are sampled in their order, a batch of questions at a time; several processes take a batch each
(evaluation/asking/dealing.py). What is sampled depends on the seed and the row's place alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.prediction import judge
from evaluation.asking.dealing import dealt
from evaluation.asking.encoding import encode_checked
from evaluation.asking.samples import sample_groups
from evaluation.asking.unread import Unread, reason_of
from evaluation.curate.pass_counts import Passes, PassesFile
from grpo.unreadable import ROW_ERRORS
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar
from process.ranks import world


@dataclass(frozen=True)
class RowSampler:
    """A policy and how it is sampled."""

    policy: Policy  # the model that would be trained
    turn_builder: TurnBuilder  # makes the training's prompt
    mode: str  # which tags a completion must write
    max_completion_tokens: int
    samples: int  # k, per row and image
    seed: int

    def count(self, examples: Sequence[VQAExample], rows: range) -> list[Passes]:
        """Return how many samples of each of these rows are right."""
        encoded = {row: self._encode(examples[row]) for row in rows}
        prompts = {row: one for row, one in encoded.items() if not isinstance(one, str)}
        seen = self._right(examples, prompts)
        shown = {row: one for row, one in prompts.items() if examples[row].images}
        blank = self._right(examples, {row: one.blanked() for row, one in shown.items()})
        return [
            Passes(examples[row].id, 0, 0, unreadable=one)
            if isinstance(one, str)
            else Passes(examples[row].id, seen[row], blank.get(row))
            for row, one in encoded.items()
        ]

    def _encode(self, example: VQAExample) -> EncodedPrompt | str:
        """Return the row's prompt, or why it has none any more."""
        try:
            return encode_checked(
                self.policy, example, self.turn_builder, self.max_completion_tokens
            )
        except ROW_ERRORS as error:
            return reason_of(error)

    def _right(
        self, examples: Sequence[VQAExample], prompts: Mapping[int, EncodedPrompt]
    ) -> dict[int, int]:
        """Return how many samples of each row are right; prompts are by row."""
        if not prompts:
            return {}
        groups = sample_groups(
            self.policy,
            list(prompts.values()),
            list(prompts),
            group_size=self.samples,
            max_completion_tokens=self.max_completion_tokens,
            seed=self.seed,
        )
        return {
            row: sum(self._is_right(examples[row], text) for text in texts)
            for row, texts in zip(prompts, groups, strict=True)
        }

    def _is_right(self, example: VQAExample, text: str) -> bool:
        return judge(example, text, mode=self.mode, completion_tokens=0, truncated=False).correct


def sample_rows(
    sampler: RowSampler, examples: Sequence[VQAExample], file: PassesFile, batch_size: int
) -> None:
    """Sample the rows that are not in the file yet, and add them to it.

    Args:
        sampler: of the samples.
        examples: all rows, in their order.
        file: the rows that are sampled already; the first of several processes keeps it.
        batch_size: completions sampled at once.
    """
    total, size = len(examples), max(1, batch_size // sampler.samples)
    # the same batches as without the interruption: batches move a sample by rounding at most
    done = world().by_the_first("going on", lambda: file.keep(len(file) // size * size))
    batches = [range(start, min(start + size, total)) for start in range(done, total, size)]
    unread = Unread("not sampled, left out")
    progress = bar(
        total=total,
        initial=done,
        desc="sampling",
        unit="row",
        disable=not world().is_first,
        leave=False,
    )

    def sampled(rows: range) -> list[Passes]:
        return sampler.count(examples, rows)

    with progress:
        for found in dealt(batches, sampled, "sampling", pack=_packed, unpack=_unpacked):
            unread.note(row.unreadable for row in found)
            with world().together("keeping the samples"):
                if world().is_first:
                    file.append(found)
            progress.update(len(found))


def _packed(rows: Sequence[Passes]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _unpacked(rows: Sequence[dict[str, Any]]) -> list[Passes]:
    return [Passes(**row) for row in rows]
