"""The letters after other thoughts: the model's part of evaluation/measures/thought_changes.py.

All texts of a batch up to ``<answer>`` are read in one forward, which encodes each image once.
Images are decoded batch by batch and forgotten. Several processes read a batch each
(evaluation/asking/dealing.py).
"""

from collections.abc import Sequence
from typing import Any

import torch

from data.examples import VQAExample
from data.options import is_lettered
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction
from evaluation.asking.dealing import dealt
from evaluation.asking.donors import Donors
from evaluation.asking.encoding import encode_checked
from evaluation.asking.evaluation_plan import BATCH_SIZE
from evaluation.asking.lenders import Donor, Lenders, thought_of, with_thought
from evaluation.asking.option_letters import Letters, letter_probabilities
from evaluation.asking.unread import Unread, reason_of
from evaluation.measures.thought_changes import (
    ThoughtRow,
    check_changes,
    not_applicable,
    summarize_changes,
)
from grpo.finite import check_masses
from grpo.unreadable import ROW_ERRORS
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar
from process.ranks import world

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
    thought, or no question has lettered options; else the keys of `summarize_changes` follow, and
    ``not_lettered``, the rows without, where there are any. The arguments are `read_thoughts`'s.
    """
    reason = not_applicable(mode)
    if reason is None and not any(map(is_lettered, predictions)):
        reason = "no question has lettered options"
    if reason is not None:
        return {"applicable": False, "reason": reason}, []
    rows = read_thoughts(
        policy, examples, predictions, turn_builder, changes=changes, mode=mode, **how
    )
    lettered = sum(map(is_lettered, predictions))
    found = {"applicable": True, **summarize_changes(rows, changes, lettered - len(rows))}
    if others := len(predictions) - lettered:
        found["not_lettered"] = others
    return found, rows


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
    """Return the well-formed answers by letter under their own thought and under each change.

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
    wanted = [item.well_formed and is_lettered(item) for item in predictions]
    places = [place for place, is_wanted in enumerate(wanted) if is_wanted]
    lenders = Lenders([predictions[place] for place in places], seed)
    donors = Donors(policy, lenders, changes, mode, max_completion_tokens, samples, seed)
    size = max(1, batch_size // donors.rows_each)
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    rows: list[ThoughtRow] = []
    unread = Unread("its thought is left out")

    def encode(place: int) -> EncodedPrompt | str:
        try:
            return encode_checked(policy, examples[place], turn_builder, max_completion_tokens)
        except ROW_ERRORS as error:
            return reason_of(error)

    def read(batch: Sequence[int]) -> list[ThoughtRow | str]:
        encoded = {place: encode(place) for place in batch}
        prompts = {place: one for place, one in encoded.items() if not isinstance(one, str)}
        answers = [predictions[place] for place in prompts]
        asked = [examples[place] for place in prompts]
        some = list(prompts.values())
        found = donors.of(asked, answers, list(prompts), some) if some else []
        read_rows = iter(_read(policy, some, answers, found) if some else [])
        return [one if isinstance(one, str) else next(read_rows) for one in encoded.values()]

    progress_bar = bar(
        total=len(places),
        desc="thoughts",
        unit="question",
        disable=not (progress and world().is_first),
        leave=False,
    )
    with progress_bar:
        for batch in dealt(batches, read, "reading thoughts", pack=_packed, unpack=_unpacked):
            unread.note(one if isinstance(one, str) else None for one in batch)
            rows += [one for one in batch if not isinstance(one, str)]
            progress_bar.update(len(batch))
    return rows


def _packed(batch: Sequence[ThoughtRow | str]) -> list[dict[str, Any] | str]:
    return [one if isinstance(one, str) else one.to_json() for one in batch]


def _unpacked(batch: Sequence[Any]) -> list[ThoughtRow | str]:
    return [one if isinstance(one, str) else ThoughtRow.from_json(one) for one in batch]


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
