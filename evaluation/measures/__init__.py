"""Numbers from answers: accuracies, intervals, gains, calibration, priors. No torch."""
