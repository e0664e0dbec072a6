"""Does a model know when it is right? Its confidences against what came out.

A confidence is the probability that the model gave to the option it chose. Source of the binned
error and its name: Guo et al. 2017 (arXiv:1706.04599); of the area under the risk-coverage curve:
Geifman and El-Yaniv 2017 (arXiv:1705.08500).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

NUM_BINS = 15  # Guo et al.'s


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose confidence lies in (low, high]; the lowest bin takes 0 as well."""

    low: float
    high: float
    n: int
    confidence: float | None  # mean; None without rows
    accuracy: float | None


def reliability_bins(
    confidences: Sequence[float], correct: Sequence[bool], *, num_bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Return the bins of equal width between 0 and 1 that a reliability diagram draws.

    Raises:
        ValueError: no rows, two lengths, a confidence outside [0, 1], fewer than one bin.
    """
    _check(confidences, correct)
    if num_bins < 1:
        raise ValueError(f"{num_bins} bins hold nothing: use at least 1")
    highs = [(i + 1) / num_bins for i in range(num_bins)]
    members: list[list[tuple[float, bool]]] = [[] for _ in highs]
    for confidence, right in zip(confidences, correct, strict=True):
        members[bisect_left(highs, confidence)].append((confidence, bool(right)))
    return [
        ReliabilityBin(
            low=i / num_bins,
            high=highs[i],
            n=len(rows),
            confidence=sum(confidence for confidence, _ in rows) / len(rows) if rows else None,
            accuracy=sum(right for _, right in rows) / len(rows) if rows else None,
        )
        for i, rows in enumerate(members)
    ]


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], *, num_bins: int = NUM_BINS
) -> float:
    """Return the mean distance between confidence and accuracy, over bins weighted by their rows.

        ECE = sum over bins b of n_b / n |accuracy_b - confidence_b|

    Two of four rows at confidence 0.9, one of them right, and two at 0.4, none right, in 2 bins:
    2/4 |0.5 - 0.9| + 2/4 |0 - 0.4| = 0.4.

    Raises:
        ValueError: as `reliability_bins`.

    >>> round(expected_calibration_error([0.9, 0.9, 0.4, 0.4], [1, 0, 0, 0], num_bins=2), 12)
    0.4
    """
    bins = reliability_bins(confidences, correct, num_bins=num_bins)
    gaps = (
        item.n * abs(item.accuracy - item.confidence)
        for item in bins
        if item.accuracy is not None and item.confidence is not None
    )
    return sum(gaps) / len(confidences)


def brier_score(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the mean square of (confidence in the chosen option - 1 if it is right, else 0).

    0 is perfect, 0.25 what a constant 0.5 gets, 1 being sure and wrong. Source: Brier 1950, for the
    two outcomes right and wrong; over all options it is `multiclass_brier_score`.

    Raises:
        ValueError: no rows, two lengths, a confidence outside [0, 1].

    >>> brier_score([1.0, 0.5], [True, False])
    0.125
    """
    _check(confidences, correct)
    pairs = zip(confidences, correct, strict=True)
    return sum((confidence - bool(right)) ** 2 for confidence, right in pairs) / len(confidences)


def multiclass_brier_score(
    probabilities: Sequence[Mapping[str, float]], answers: Sequence[str]
) -> float:
    """Return the mean over rows of the sum over options of (probability - 1 if right, else 0)^2.

    0 is perfect, 2 being sure of one wrong option. This is Brier's own 1950 form.

    Args:
        probabilities: n dictionaries from an option's letter to its probability, each sums to 1.
        answers: n right letters.

    Raises:
        ValueError: no rows, two lengths, an answer that is no key, probabilities that do not sum
            to 1 within 1e-4.

    >>> multiclass_brier_score([{"A": 0.5, "B": 0.25, "C": 0.25}], ["A"])
    0.375
    """
    if len(probabilities) != len(answers) or not answers:
        raise ValueError(
            f"{len(probabilities)} probabilities and {len(answers)} answers: pass one of each per"
            " row, at least one row"
        )
    total = 0.0
    for row, (shares, answer) in enumerate(zip(probabilities, answers, strict=True)):
        if answer not in shares or not abs(sum(shares.values()) - 1) <= 1e-4:
            raise ValueError(
                f"row {row}: {dict(shares)} are no probabilities of options that hold {answer!r}:"
                " pass one per option, with the sum 1"
            )
        total += sum((share - (letter == answer)) ** 2 for letter, share in shares.items())
    return total / len(answers)


def risk_coverage(
    confidences: Sequence[float], correct: Sequence[bool]
) -> tuple[list[float], list[float]]:
    """Return (coverages, risks): the share of wrong answers among the k surest of n, k = 1 .. n.

    Coverage is k / n. Rows of equal confidence have no order, so each stands for the mean over all
    of their orders: a model that is always equally sure has one risk at every coverage.

    Raises:
        ValueError: no rows, two lengths, a confidence outside [0, 1].

    >>> risk_coverage([0.9, 0.8, 0.3], [True, False, False])[1]
    [0.0, 0.5, 0.6666666666666666]
    """
    _check(confidences, correct)
    ties: dict[float, list[bool]] = {}
    for confidence, right in zip(confidences, correct, strict=True):
        ties.setdefault(confidence, []).append(not right)
    risks: list[float] = []
    num_wrong = 0
    for confidence in sorted(ties, reverse=True):
        wrong, before = ties[confidence], len(risks)
        for k in range(1, len(wrong) + 1):
            risks.append((num_wrong + k * sum(wrong) / len(wrong)) / (before + k))
        num_wrong += sum(wrong)
    n = len(risks)
    return [k / n for k in range(1, n + 1)], risks


def risk_coverage_area(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the area under the risk-coverage curve: the mean of its n risks, 0 at best.

    Below the error rate means that surer answers are righter.

    Raises:
        ValueError: as `risk_coverage`.
    """
    _, risks = risk_coverage(confidences, correct)
    return sum(risks) / len(risks)


def _check(confidences: Sequence[float], correct: Sequence[bool]) -> None:
    if len(confidences) != len(correct) or not len(confidences):
        raise ValueError(
            f"{len(confidences)} confidences and {len(correct)} answers: pass one of each per row,"
            " at least one row"
        )
    for row, confidence in enumerate(confidences):
        if not (isfinite(confidence) and 0 <= confidence <= 1):
            raise ValueError(f"row {row}: confidence {confidence} is no probability, 0 to 1")
