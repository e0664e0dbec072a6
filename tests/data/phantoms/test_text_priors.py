"""Without the image nothing helps: text-only guessers stay near chance on the held-out part.

Each guesser is fitted on the whole training part (6,400 rows) and scored on 1,200 held-out rows.
"""

from collections import Counter
from string import ascii_uppercase

import numpy as np
import pytest

from data.phantoms import phantom_examples
from data.phantoms.wordings import WORDINGS

TRAIN, HELDOUT = phantom_examples("train"), phantom_examples("heldout", rows_per_cell=30)
TEXTS = sorted({text for row in TRAIN for text in row.options})
QUESTIONS = sorted({question for wordings in WORDINGS.values() for question in wordings})


def right_index(row) -> int:
    return ascii_uppercase.index(row.answer)


def guess_by_letter():
    counts = Counter(row.answer for row in TRAIN)
    best = ascii_uppercase.index(counts.most_common(1)[0][0])
    return lambda row: best  # noqa: ARG005


def guess_by_letter_and_type():
    counts = Counter((row.question_type, row.modality, row.answer) for row in TRAIN)
    return lambda row: max(
        range(4), key=lambda i: counts[row.question_type, row.modality, ascii_uppercase[i]]
    )


def guess_by_option_rate():
    shown = Counter(text for row in TRAIN for text in row.options)
    right = Counter(row.answer_text for row in TRAIN)
    return lambda row: max(range(4), key=lambda i: right[row.options[i]] / shown[row.options[i]])


def features(row) -> np.ndarray:
    """(4, 6) feature numbers: each option's text, letter, text x question, text x other option."""
    count = len(TEXTS)
    texts = [TEXTS.index(text) for text in row.options]
    question = QUESTIONS.index(row.question)
    rows = []
    for place, text in enumerate(texts):
        others = [5000 + text * count + other for other in texts if other != text]
        rows.append([text, count + place, 200 + text * len(QUESTIONS) + question, *others])
    return np.array(rows)


def guess_by_words():
    """A linear ranker over bags of words: softmax regression, full-batch gradient descent."""
    inputs = np.stack([features(row) for row in TRAIN])  # (rows, 4, 6)
    targets = np.eye(4)[[right_index(row) for row in TRAIN]]
    weights = np.zeros(5000 + len(TEXTS) ** 2)
    for _ in range(200):
        scores = weights[inputs].sum(axis=2)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        slopes = np.repeat((chances - targets)[..., None], inputs.shape[2], axis=2)
        gradient = np.bincount(inputs.ravel(), slopes.ravel(), minlength=len(weights))
        weights -= 2 * gradient / len(TRAIN) + 1e-4 * weights
    return lambda row: int(weights[features(row)].sum(axis=1).argmax())


GUESSERS = [guess_by_letter, guess_by_letter_and_type, guess_by_option_rate, guess_by_words]


def accuracies(guess, rows) -> tuple[float, dict[str, float]]:
    hits = {kind: [] for kind in WORDINGS}
    for row in rows:
        hits[row.question_type].append(guess(row) == right_index(row))
    overall = np.mean([hit for part in hits.values() for hit in part])
    return float(overall), {kind: float(np.mean(part)) for kind, part in hits.items()}


@pytest.mark.parametrize("fit", GUESSERS)
def test_no_guesser_does_without_the_image(fit):
    assert len(TRAIN) >= 5000
    assert len(HELDOUT) >= 1000
    overall, by_type = accuracies(fit(), HELDOUT)
    assert overall <= 0.30
    assert max(by_type.values()) <= 0.40


def test_the_word_ranker_finds_a_planted_prior():
    # The guesser above is only worth something if it would notice: put the right option's text
    # first in the alphabet of its question nine times in ten, and it must score.
    rows = [row for row in HELDOUT if row.question_type == "Lesion Grading"]
    planted = [row for row in TRAIN if row.question_type == "Lesion Grading"]
    planted = [row for i, row in enumerate(planted) if i % 10 == 0 or row.answer_text == "mild"]
    original = TRAIN[:]
    try:
        TRAIN[:] = planted
        guess = guess_by_words()
    finally:
        TRAIN[:] = original
    named = [row.options[guess(row)] == "mild" for row in rows]
    assert np.mean(named) > 0.9
