"""The letters behind other thoughts: the model's part of evaluation/measures/thought_changes.py.

All texts of a batch up to ``<answer>`` are read in one forward, which encodes each image once.
Images are decoded batch by batch and forgotten.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm import tqdm

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction, judge
from evaluation.asking.encoding import encode_checked
from evaluation.asking.letters import letter_probabilities
from evaluation.asking.samples import sample_groups
from evaluation.measures.thought_changes import (
    Donor,
    Lenders,
    ThoughtRow,
    check_changes,
    group_donor,
    not_applicable,
    summarize_changes,
    thought_of,
    with_thought,
)
from grpo.unreadable import ROW_ERRORS, UnreadableRows
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar


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
    rows = read_thoughts(policy, examples, predictions, turn_builder, changes=changes, **how)
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
    samples: int = 4,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> list[ThoughtRow]:
    """Return the well-formed answers under their own thought and under each change.

    Args:
        policy: the model that answered.
        examples: the questions, in the think mode.
        predictions: its answers, one per example in the same order.
        turn_builder: the one that they were asked with.
        changes: names of THOUGHT_CHANGES; a row without a donor lacks that change.
        max_completion_tokens: of the sampled completions.
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
    rows_each = max(samples if "swapped" in changes else 1, 1 + len(changes))
    size = max(1, batch_size // rows_each)
    rows: list[ThoughtRow] = []
    unreadable = UnreadableRows()
    progress_bar = bar(
        total=len(places), desc="thoughts", unit="question", disable=not progress, leave=False
    )
    with progress_bar:
        for start in range(0, len(places), size):
            some = places[start : start + size]
            some, prompts = _readable(
                some,
                lambda place: encode_checked(
                    policy, examples[place], turn_builder, max_completion_tokens
                ),
                unreadable,
            )
            if not some:
                continue
            batch = [predictions[place] for place in some]
            donors: list[dict[str, Donor]] = [{} for _ in batch]
            if "removed" in changes:
                _add(donors, "removed", [Donor("", None)] * len(batch))
            if "swapped" in changes:
                groups = sample_groups(
                    policy,
                    prompts,
                    some,
                    group_size=samples,
                    max_completion_tokens=max_completion_tokens,
                    seed=seed,
                )
                _add(donors, "swapped", _group_donors([examples[p] for p in some], batch, groups))
            if "borrowed" in changes:
                _add(donors, "borrowed", [lenders.donor(item) for item in batch])
            rows += _read(policy, prompts, batch, donors)
            progress_bar.update(len(batch))
    return rows


def _readable(
    places: Sequence[int], encode: Callable[[int], EncodedPrompt], unreadable: UnreadableRows
) -> tuple[list[int], list[EncodedPrompt]]:
    """Return the places whose rows can still be read, and their prompts; say which cannot."""
    found: dict[int, EncodedPrompt] = {}
    for place in places:
        try:
            found[place] = encode(place)
            unreadable.clear()
        except ROW_ERRORS as error:
            unreadable.add(error)
            tqdm.write(f"warning: its thought is left out: {error}", file=sys.stderr)
    return list(found), list(found.values())


def _add(donors: list[dict[str, Donor]], name: str, found: Sequence[Donor | None]) -> None:
    for row, donor in zip(donors, found, strict=True):
        if donor is not None:
            row[name] = donor


def _group_donors(
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
    groups: Sequence[Sequence[str]],
) -> list[Donor | None]:
    donors = []
    for example, item, texts in zip(examples, predictions, groups, strict=True):
        group = [
            judge(example, text, mode="think", completion_tokens=0, truncated=False)
            for text in texts
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
        read = {name: next(letters) for name in ("own", *row)}
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
