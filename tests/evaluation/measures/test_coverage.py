"""How often a "95 %" interval by image holds the truth, counted in seeded simulations.

Every image has five rows that share its own probabilities; a beta or Dirichlet distribution of
these gives rows of one image a correlation of 0, 0.3 or 0.6. What is demanded is 0.93 over the
cases of a size, where 3,600 trials err by 0.004, and 0.90 of each case, 400 trials, which err by
0.011.
"""

import numpy as np
import pytest

from evaluation.answers.finished import Evaluation
from evaluation.answers.prediction import Prediction
from evaluation.compare import compare
from evaluation.measures.intervals import image_interval
from evaluation.measures.matrices import AnsweredRow, part_differences
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.summary import accuracy_of

ROWS, TRIALS = 5, 400
CORRELATIONS = (0.0, 0.3, 0.6)
SIZES = (2, 3, 5, 10, 20, 50)


def drawn(generator, shares, correlation, images):
    """Which of the kinds each row is, (images, ROWS), kinds of these shares."""
    own = np.tile(shares, (images, 1))  # each image's probabilities
    if correlation:
        own = generator.dirichlet(np.array(shares) * (1 - correlation) / correlation, images)
    bounds = own.cumsum(axis=1)[:, None, :-1]
    return (generator.random((images, ROWS))[..., None] > bounds).sum(axis=2)


def held(draw, truth, trials=TRIALS):
    """The share of drawn intervals that hold the truth; none may be without width."""
    found = [draw() for _ in range(trials)]
    assert all(low < high for low, high in found)
    return sum(low <= truth <= high for low, high in found) / trials


def demand(shares, case=0.90):
    assert np.mean(shares) >= 0.93, shares
    assert min(shares) >= case, shares


@pytest.mark.parametrize("images", SIZES)
def test_an_accuracy_by_image_is_held(images):
    generator = np.random.default_rng(images)
    clusters = np.repeat(np.arange(images), ROWS)
    shares = []
    for accuracy in (0.5, 0.7, 0.9):
        for correlation in CORRELATIONS:

            def draw(kinds=(accuracy, 1 - accuracy), correlation=correlation):
                right = drawn(generator, kinds, correlation, images).ravel() == 0
                return image_interval(right, clusters, share=True)

            shares.append(held(draw, accuracy))
    demand(shares)


@pytest.mark.parametrize("images", SIZES)
def test_a_difference_by_image_is_held(images):
    generator = np.random.default_rng(100 + images)
    clusters = np.repeat(np.arange(images), ROWS)
    shares = []
    for more, fewer in ((0.3, 0.1), (0.1, 0.1), (0.5, 0.2)):
        for correlation in CORRELATIONS:

            def draw(kinds=(more, fewer, 1 - more - fewer), correlation=correlation):
                kind = drawn(generator, kinds, correlation, images).ravel()
                return image_interval(np.array([1, -1, 0])[kind], clusters, share=False)

            shares.append(held(draw, more - fewer))
    demand(shares)


@pytest.mark.parametrize("images", [3, 5, 10, 20])
def test_a_macro_difference_of_slices_is_held(images):
    # four slices with images of their own; in each as many as in the tests above
    generator = np.random.default_rng(200 + images)
    clusters = np.repeat(np.arange(4 * images), ROWS)
    strata = clusters // images
    shares = []
    for correlation in CORRELATIONS:

        def draw(correlation=correlation):
            kind = drawn(generator, (0.3, 0.1, 0.6), correlation, 4 * images).ravel()
            return image_interval(np.array([1, -1, 0])[kind], clusters, strata, share=False)

        shares.append(held(draw, 0.2))
    demand(shares)


# through the doors that reports use


def rows(kind):
    return [AnsweredRow(str(i), (f"{i // ROWS}.png",), bool(one)) for i, one in enumerate(kind)]


@pytest.mark.parametrize("images", [5, 10])
def test_summaries_comparisons_and_matrices_hold_it_too(images):
    generator = np.random.default_rng(300 + images)
    names = [(f"{i // ROWS}.png",) for i in range(images * ROWS)]

    def sides():
        kind = drawn(generator, (0.3, 0.1, 0.3, 0.3), 0.3, images).ravel()
        return kind % 2 == 0, (kind == 1) | (kind == 2)  # accuracies 0.6 and 0.4

    def accuracy():
        found = accuracy_of(sides()[0], [1 / 4] * len(names), names)
        return found["image_low"], found["image_high"]

    def change():
        second, first = (
            Evaluation(str(i), {}, tuple(map(answer, range(len(names)), names, side)))
            for i, side in enumerate(sides())
        )
        found = compare(first, second)["overall"]
        return found["low"], found["high"]

    def matrix():
        first, second = ({("CT", "CT"): rows(side)} for side in sides())
        found = part_differences(first, second)["diagonal"]["macro"]
        return found["low"], found["high"]

    def orders():
        plain, permuted = (list(map(answer, range(len(names)), names, side)) for side in sides())
        found = summarize_permutations(plain, permuted, 2)
        return found["low"], found["high"]

    for draw, truth in ((accuracy, 0.6), (change, 0.2), (matrix, 0.2), (orders, 0.5)):
        assert held(draw, truth, 200) >= 0.93, draw.__name__


def answer(number, images, correct):
    return Prediction(
        id=str(number),
        images=images,
        modality="CT",
        question_type="unknown",
        dataset="set",
        question="Which?",
        options=("one", "two"),
        permutation=(0, 1),
        answer="A",
        completion="",
        choice="A" if correct else "B",
        lenient_choice=None,
        well_formed=True,
        correct=bool(correct),
        lenient_correct=bool(correct),
        completion_tokens=3,
        truncated=False,
        letter_probabilities=None,
        control=None,
    )
