"""The answers of an evaluation in the result files of other evaluators; each has a file here."""
