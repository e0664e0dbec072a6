"""How sure the answers were, from the option letters' probabilities of the predictions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluation.answers.prediction import Prediction, is_measured
from evaluation.measures.calibration import (
    brier_score,
    expected_calibration_error,
    multiclass_brier_score,
    reliability_bins,
    risk_coverage_area,
)


def summarize_confidence(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return calibration and ranking of the chosen letters' probabilities.

        n                   answers measured
        without_answer_tag  left out: the completion has no <answer>, so letters have no
                            probabilities
        without_choice      left out: it has the tag but commits to no letter
        little_mass         left out: a letter was so improbable there that the letters' shares say
                            nothing (evaluation.answers.prediction.LEAST_MASS)
        letter_mass         mean probability that a letter is written behind <answer>, over all that
                            have the tag
        accuracy            share of the measured whose letter is right, whatever the form
        confidence          mean probability of the chosen letter
        ece                 expected calibration error, 15 bins
        brier               Brier score of the chosen letter's probability
        brier_options       the same over all options
        risk_coverage_area  mean share of wrong answers among the k surest, k = 1 .. n
        bins                of the reliability diagram: low, high, n, confidence, accuracy

    With n = 0 the numbers are None and bins is empty.
    """
    tagged = [item for item in predictions if item.letter_probabilities is not None]
    answered = [item for item in tagged if item.choice in item.letter_probabilities]
    chosen = _with_confidence(predictions)
    masses = [item.letter_mass for item in tagged if item.letter_mass is not None]
    counts = {
        "n": len(chosen),
        "without_answer_tag": len(predictions) - len(tagged),
        "without_choice": len(tagged) - len(answered),
        "little_mass": len(answered) - len(chosen),
        "letter_mass": sum(masses) / len(masses) if masses else None,
    }
    return {**counts, **_numbers(chosen)}


def chosen_confidences(predictions: Sequence[Prediction]) -> tuple[list[float], list[bool]]:
    """Return (confidences, correct) of the answers that `summarize_confidence` measures."""
    chosen = _with_confidence(predictions)
    # a sum of shares may round to 1 + 2e-16
    confidences = [min(item.letter_probabilities[item.choice], 1.0) for item in chosen]
    return confidences, [item.choice == item.answer for item in chosen]


def _with_confidence(predictions: Sequence[Prediction]) -> list[Prediction]:
    return [
        item
        for item in predictions
        if item.letter_probabilities is not None
        and item.choice in item.letter_probabilities
        and is_measured(item.letter_mass)
    ]


def _numbers(chosen: Sequence[Prediction]) -> dict[str, Any]:
    names = ("accuracy", "confidence", "ece", "brier", "brier_options", "risk_coverage_area")
    if not chosen:
        return {**dict.fromkeys(names), "bins": []}
    confidences, correct = chosen_confidences(chosen)
    numbers = (
        sum(correct) / len(chosen),
        sum(confidences) / len(chosen),
        expected_calibration_error(confidences, correct),
        brier_score(confidences, correct),
        multiclass_brier_score(
            [item.letter_probabilities for item in chosen], [item.answer for item in chosen]
        ),
        risk_coverage_area(confidences, correct),
    )
    bins = [asdict(item) for item in reliability_bins(confidences, correct)]
    return {**dict(zip(names, numbers, strict=True)), "bins": bins}
