"""The letters after other thoughts: the model's part of evaluation/measures/thought_changes.py.

All texts of a batch up to ``<answer>`` are read in one forward, which encodes each image once.
Images are decoded batch by batch and forgotten.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction, judge
from evaluation.asking.encoding import encode_checked
from evaluation.asking.evaluation_plan import BATCH_SIZE
from evaluation.asking.lenders import Donor, Lenders, group_donor, thought_of, with_thought
from evaluation.asking.option_letters import Letters, letter_probabilities
from evaluation.asking.samples import sample_groups
from evaluation.measures.thought_changes import (
    ThoughtRow,
    check_changes,
    not_applicable,
    summarize_changes,
)
from grpo.finite import check_masses
from grpo.unreadable import ROW_ERRORS, UnreadableRows
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar, warn

SAMPLES = 4  # completions per question for swapped thoughts, where nobody says how many


def measure_changes(
    policy: Policy,
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
    turn_builder: TurnBuilder,
    *,
    mode: str,
    changes: Sequence[str],
    **how: Any,
) -> tuple[dict[str, Any], list[ThoughtRow]]:
    """Return summary.json's ``thoughts.teacher_forced`` and the rows of thoughts.jsonl.

    ``applicable`` is False, with the ``reason``, where the mode's letter cannot depend on a
    thought; else the keys of `summarize_changes` follow. The arguments are `read_thoughts`'s.
    """
    reason = not_applicable(mode)
    if reason is not None:
        return {"applicable": False, "reason": reason}, []
    rows = read_thoughts(
        policy, examples, predictions, turn_builder, changes=changes, mode=mode, **how
    )
    left_out = len(predictions) - len(rows)
    return {"applicable": True, **summarize_changes(rows, changes, left_out)}, rows


@torch.no_grad()
def read_thoughts(
    policy: Policy,
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
    turn_builder: TurnBuilder,
    *,
    changes: Sequence[str],
    max_completion_tokens: int,
    mode: str = "think",
    samples: int = SAMPLES,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> list[ThoughtRow]:
    """Return the well-formed answers under their own thought and under each change.

    Args:
        policy: the model that answered.
        examples: the questions.
        predictions: its answers, one per example in the same order.
        turn_builder: the one that they were asked with.
        changes: names of THOUGHT_CHANGES; a row without a donor lacks that change.
        max_completion_tokens: of the sampled completions.
        mode: of the answers, one whose letter follows a thought.
        samples: completions sampled per question for "swapped".
        seed: of those, and of who borrows from whom.
        batch_size: rows that are run at once; the completions of a group are rows.
        progress: show a bar.

    Raises:
        ValueError: an unknown change, or too many rows in a row that cannot be read any more.
    """
    check_changes(changes)
    places = [place for place, item in enumerate(predictions) if item.well_formed]
    lenders = Lenders([predictions[place] for place in places], seed)
    donors = _Donors(policy, lenders, changes, mode, max_completion_tokens, samples, seed)
    rows: list[ThoughtRow] = []

    def encode(place: int) -> EncodedPrompt:
        return encode_checked(policy, examples[place], turn_builder, max_completion_tokens)

    progress_bar = bar(
        total=len(places), desc="thoughts", unit="question", disable=not progress, leave=False
    )
    with progress_bar:
        for some, prompts in _readable(places, max(1, batch_size // donors.rows_each), encode):
            batch = [predictions[place] for place in some]
            found = donors.of([examples[place] for place in some], batch, some, prompts)
            rows += _read(policy, prompts, batch, found)
            progress_bar.update(len(batch))
    return rows


@dataclass(frozen=True)
class _Donors:
    """Where the thoughts of each change come from."""

    policy: Policy
    lenders: Lenders
    changes: Sequence[str]
    mode: str
    max_completion_tokens: int
    samples: int
    seed: int

    @property
    def rows_each(self) -> int:
        """How many rows run at once for one answer, at most."""
        return max(self.samples if "swapped" in self.changes else 1, 1 + len(self.changes))

    def of(
        self,
        examples: Sequence[VQAExample],
        predictions: Sequence[Prediction],
        places: Sequence[int],
        prompts: Sequence[EncodedPrompt],
    ) -> list[dict[str, Donor]]:
        """Return each answer's donors by the change; a change that has none is left out.

        Args:
            examples: the questions of a batch.
            predictions: the answers to them.
            places: where each question stands among all, for what is sampled.
            prompts: of the questions.
        """
        found: dict[str, Sequence[Donor | None]] = {}
        if "removed" in self.changes:
            found["removed"] = [Donor("", None)] * len(predictions)
        if "swapped" in self.changes:
            groups = sample_groups(
                self.policy,
                prompts,
                places,
                group_size=self.samples,
                max_completion_tokens=self.max_completion_tokens,
                seed=self.seed,
            )
            found["swapped"] = _group_donors(examples, predictions, groups, self.mode)
        if "borrowed" in self.changes:
            found["borrowed"] = [self.lenders.donor(item) for item in predictions]
        return [
            {name: donor for name, some in found.items() if (donor := some[row]) is not None}
            for row in range(len(predictions))
        ]


def _readable(
    places: Sequence[int], size: int, encode: Callable[[int], EncodedPrompt]
) -> Iterator[tuple[list[int], list[EncodedPrompt]]]:
    """Yield batches of places whose rows can still be read, and their prompts; say which cannot."""
    unreadable = UnreadableRows()
    for start in range(0, len(places), size):
        found: dict[int, EncodedPrompt] = {}
        for place in places[start : start + size]:
            try:
                found[place] = encode(place)
                unreadable.clear()
            except ROW_ERRORS as error:
                unreadable.add(error)
                warn(f"its thought is left out: {error}")
        if found:
            yield list(found), list(found.values())


def _group_donors(
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
    groups: Sequence[Sequence[str]],
    mode: str,
) -> list[Donor | None]:
    donors = []
    for example, item, texts in zip(examples, predictions, groups, strict=True):
        group = [
            judge(example, text, mode=mode, completion_tokens=0, truncated=False) for text in texts
        ]
        donors.append(group_donor(item, group))
    return donors


def _read(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    predictions: Sequence[Prediction],
    donors: Sequence[dict[str, Donor]],
) -> list[ThoughtRow]:
    """Return one row per prediction: all its texts in one forward, images encoded once."""
    texts = [
        [
            with_thought(item.completion, thought)
            for thought in (thought_of(item.completion), *(donor.thought for donor in row.values()))
        ]
        for item, row in zip(predictions, donors, strict=True)
    ]
    counts = [
        len(item.options) for item, some in zip(predictions, texts, strict=True) for _ in some
    ]
    letters = iter(
        letter_probabilities(
            policy,
            prompts,
            [text for some in texts for text in some],
            counts,
            rows_per_prompt=[len(some) for some in texts],
        )
    )
    rows = []
    for item, row in zip(predictions, donors, strict=True):
        read = {name: _letters(next(letters)) for name in ("own", *row)}
        check_masses(policy, [one.mass for one in read.values()], [item.id] * len(read))
        assert item.choice is not None, "a well-formed answer chooses"
        lent = {name: donor for name, donor in row.items() if name != "removed"}
        rows.append(
            ThoughtRow(
                id=item.id,
                images=item.images,
                answer=item.answer,
                choice=item.choice,
                letters={name: dict(found) for name, found in read.items()},
                donors={name: donor.choice for name, donor in lent.items()},
                thoughts={name: donor.thought for name, donor in lent.items()},
                masses={name: found.mass for name, found in read.items()},
            )
        )
    return rows


def _letters(found: Letters | None) -> Letters:
    assert found is not None, "every text ends with <answer>"
    return found
