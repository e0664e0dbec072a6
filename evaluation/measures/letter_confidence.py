"""How sure the answers were, from the option letters' probabilities of the predictions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

from data.options import is_lettered
from evaluation.answers.prediction import Prediction, is_measured
from evaluation.measures.calibration import (
    brier_score,
    expected_calibration_error,
    multiclass_brier_score,
    reliability_bins,
    risk_coverage_area,
)


class ConfidenceSummary(TypedDict):
    """Calibration and ranking of the chosen letters' probabilities; None with n = 0."""

    n: int  # answers measured
    # Only where there are any, left out of all below: answered by yes or no, a text, a number.
    not_lettered: NotRequired[int]
    without_answer_tag: int  # left out: no <answer>, so letters have no probabilities
    without_choice: int  # left out: it has the tag but commits to no letter
    # Left out: a letter was so improbable there that the letters' shares say nothing
    # (evaluation.answers.prediction.LEAST_MASS).
    little_mass: int
    letter_mass: float | None  # mean probability that a letter is written after <answer>
    accuracy: float | None  # share of the measured whose letter is right, whatever the form
    confidence: float | None  # mean probability of the chosen letter
    ece: float | None  # expected calibration error, 15 bins
    brier: float | None  # Brier score of the chosen letter's probability
    brier_options: float | None  # the same over all options
    risk_coverage_area: float | None  # mean share of wrong answers among the k surest, k = 1 .. n
    bins: list[dict[str, Any]]  # of the reliability diagram: low, high, n, confidence, accuracy


@dataclass(frozen=True)
class _Measured:
    """An answer whose letters' probabilities are read."""

    shares: dict[str, float]
    confidence: float
    answer: str
    correct: bool


def summarize_confidence(predictions: Sequence[Prediction]) -> ConfidenceSummary:
    """Return calibration and ranking of the chosen letters' probabilities."""
    lettered = [item for item in predictions if is_lettered(item)]
    tagged = [item for item in lettered if item.letter_probabilities is not None]
    answered = [item for item in tagged if item.choice in (item.letter_probabilities or {})]
    measured = _measured(answered)
    masses = [item.letter_mass for item in tagged if item.letter_mass is not None]
    found: ConfidenceSummary = {
        "n": len(measured),
        "without_answer_tag": len(lettered) - len(tagged),
        "without_choice": len(tagged) - len(answered),
        "little_mass": len(answered) - len(measured),
        "letter_mass": sum(masses) / len(masses) if masses else None,
        "accuracy": None,
        "confidence": None,
        "ece": None,
        "brier": None,
        "brier_options": None,
        "risk_coverage_area": None,
        "bins": [],
    }
    if num_others := len(predictions) - len(lettered):
        found["not_lettered"] = num_others
    if measured:
        confidences, correct = chosen_confidences(predictions)
        shares, letters = [item.shares for item in measured], [item.answer for item in measured]
        found["accuracy"] = sum(correct) / len(measured)
        found["confidence"] = sum(confidences) / len(measured)
        found["ece"] = expected_calibration_error(confidences, correct)
        found["brier"] = brier_score(confidences, correct)
        found["brier_options"] = multiclass_brier_score(shares, letters)
        found["risk_coverage_area"] = risk_coverage_area(confidences, correct)
        found["bins"] = [asdict(item) for item in reliability_bins(confidences, correct)]
    return found


def chosen_confidences(predictions: Sequence[Prediction]) -> tuple[list[float], list[bool]]:
    """Return (confidences, correct) of the answers that `summarize_confidence` measures."""
    measured = _measured(predictions)
    return [item.confidence for item in measured], [item.correct for item in measured]


def _measured(predictions: Sequence[Prediction]) -> list[_Measured]:
    found = []
    for item in predictions:
        shares, choice = item.letter_probabilities, item.choice
        if shares is None or choice not in shares or not is_measured(item.letter_mass):
            continue
        # a sum of shares may round to 1 + 2e-16
        confidence = min(shares[choice], 1.0)
        found.append(_Measured(shares, confidence, item.answer, choice == item.answer))
    return found
