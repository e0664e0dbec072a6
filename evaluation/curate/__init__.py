"""Which train rows are worth training on: `python -m evaluation.curate`, see docs/curate.md."""
