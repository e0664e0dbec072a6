"""The image-needed variant: options that are all right elsewhere, one wording, one form of text.

In the published files distractors were written for their question and are almost never right, so
that an option's text alone tells whether it is. Here an option is the right answer of other rows of
the same data set and task, drawn as often as it is right there: text says no more than how frequent
an answer is.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from data.examples import UNKNOWN, VQAExample
from data.grouping import components
from data.options import is_lettered, permute_options
from data.references import names_options
from data.seeded import seeded_key, seeded_permutation
from data.splits.answers import is_yes_or_no, may_both_be_right, surface, words_of_answer
from data.splits.pool import PoolRow
from data.splits.tasks import MODALITY, NEUTRAL_QUESTIONS

ONE_MODALITY = "modality question in a slice of one modality"
YES_NO = "yes or no is the right answer"
NOT_LETTERED = "it has no lettered options"
NAMES_OPTIONS = "its right answer names other options, by letter or place"
NO_DISTRACTOR = "no other right answer may be offered"
ASKED_BEFORE = "asks an earlier row's question about its image, with the same answer"


@dataclass(frozen=True)
class Variant:
    """The rewritten rows by their number in the pool, and what happened to the others."""

    examples: dict[int, VQAExample]
    dropped: dict[int, str]  # row -> reason
    fewer_options: int  # rows with fewer options than before
    from_slice: int  # rows with a distractor of another data set of the slice


def image_needed(
    rows: Sequence[PoolRow],
    tasks: Sequence[str],
    image_keys: Sequence[Sequence[tuple[str, str]]],
    *,
    seed: int,
) -> Variant:
    """Return the rows with redrawn options, each number of options kept where possible.

    Distractors come from the right answers of the same slice, data set and task; only where these
    offer none, from the same slice and task. Never offered is an answer that is right in any row
    about the same image, or that may mean the same (`may_both_be_right`).

    Args:
        rows: the pool.
        tasks: per row, see `data.splits.tasks`.
        image_keys: per row, what tells its images (`data.grouping.row_keys`): rows that share one,
            directly or through others, show the same image.
        seed: draws distractors and letters, by the rows' content alone.
    """
    dropped = _unfit(rows, tasks)
    answers = _one_spelling(rows)
    image_of, right = _right_by_image(rows, image_keys, answers)
    dropped |= _asked_before(rows, tasks, image_of, answers, dropped)
    kept = [number for number in range(len(rows)) if number not in dropped]
    of_dataset: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    of_slice: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for number in kept:
        example, place = rows[number].example, (rows[number].slice, tasks[number])
        of_dataset[*place, example.dataset][answers[number]] += 1
        of_slice[place][answers[number]] += 1
    examples, fewer, from_slice = {}, 0, 0
    for number in kept:
        row, place = rows[number], (rows[number].slice, tasks[number])
        wanted = len(row.example.options) - 1
        true = right[image_of[number]]
        drawn = _draw(of_dataset[*place, row.example.dataset], true, wanted, seed, row.key)
        if not drawn:
            drawn = _draw(of_slice[place], true, wanted, seed, row.key)
            from_slice += bool(drawn)
        if not drawn:
            dropped[number] = NO_DISTRACTOR
            continue
        fewer += len(drawn) < wanted
        examples[number] = _rewritten(row, tasks[number], answers[number], drawn, seed)
    return Variant(examples, dropped, fewer, from_slice)


def _unfit(rows: Sequence[PoolRow], tasks: Sequence[str]) -> dict[int, str]:
    modalities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        modalities[row.slice].add(row.example.modality)
    dropped = {}
    for number, (row, task) in enumerate(zip(rows, tasks, strict=True)):
        found = modalities[row.slice]
        if not is_lettered(row.example):
            dropped[number] = NOT_LETTERED
        elif task == MODALITY and len(found) == 1 and UNKNOWN not in found:
            dropped[number] = ONE_MODALITY
        elif is_yes_or_no(row.example.answer_text):
            dropped[number] = YES_NO
        elif names_options(row.example.answer_text, len(row.example.options)):
            dropped[number] = NAMES_OPTIONS
    return dropped


def _one_spelling(rows: Sequence[PoolRow]) -> list[str]:
    """Return each row's right answer in the spelling most frequent in its slice and data set.

    The first in the alphabet of equally frequent ones.
    """
    spellings: dict[tuple, Counter[str]] = defaultdict(Counter)
    for row in rows:
        spellings[_answer_of(row)][surface(row.example.answer_text)] += 1
    names = {
        answer: min(counts, key=lambda text: (-counts[text], text))
        for answer, counts in spellings.items()
    }
    return [names[_answer_of(row)] for row in rows]


def _answer_of(row: PoolRow) -> tuple:
    return row.slice, row.example.dataset, words_of_answer(row.example.answer_text)


def _right_by_image(
    rows: Sequence[PoolRow],
    image_keys: Sequence[Sequence[tuple[str, str]]],
    answers: Sequence[str],
) -> tuple[list[int], list[set[str]]]:
    """Return each row's image as a number, and by it all that is right of the image."""
    image_of, right = [0] * len(rows), []
    for image, members in enumerate(components(image_keys)):
        right.append({answers[number] for number in members})
        for number in members:
            image_of[number] = image
    return image_of, right


def _asked_before(
    rows: Sequence[PoolRow],
    tasks: Sequence[str],
    image_of: Sequence[int],
    answers: Sequence[str],
    dropped: Mapping[int, str],
) -> dict[int, str]:
    """Return the rows that one wording per task makes the same question; one of each stays."""
    first: dict[tuple, int] = {}
    for number in sorted(range(len(rows)), key=lambda number: rows[number].key):
        if number not in dropped:
            asked = (rows[number].slice, image_of[number], tasks[number], answers[number])
            first.setdefault(asked, number)
    stay = set(first.values()) | dropped.keys()
    return {number: ASKED_BEFORE for number in range(len(rows)) if number not in stay}


def _draw(right: Mapping[str, int], true: set[str], wanted: int, seed: int, key: str) -> list[str]:
    """Return up to ``wanted`` answers, drawn one by one in proportion to their counts.

    The one with the least of independent exponential times of rate ``count`` is a draw in
    proportion to the counts; the next least is one among the rest, and so on.
    """
    times = {
        text: -math.log((seeded_key("distractor", seed, key, text) + 1) / 2**64) / count
        for text, count in right.items()
        if not any(may_both_be_right(text, other) for other in true)
    }
    drawn: list[str] = []
    for text in sorted(times, key=lambda text: (times[text], text)):
        if len(drawn) == wanted:
            break
        if not any(may_both_be_right(text, other) for other in drawn):
            drawn.append(text)
    return drawn


def _rewritten(
    row: PoolRow, task: str, answer: str, distractors: Sequence[str], seed: int
) -> VQAExample:
    example = dataclasses.replace(
        row.example,
        question=NEUTRAL_QUESTIONS[task],
        options=(answer, *distractors),
        answer=ascii_uppercase[0],
    )
    order = seeded_permutation(len(example.options), "letters", seed, row.key)
    return permute_options(example, order)
