"""VQA examples: readers of published files, prompts, options, and the embedded phantoms."""

import process.early  # noqa: F401 - for `python -m data.audit`, which imports this first

from data.examples import VQAExample
from data.reading.readers import load_examples

__all__ = ["VQAExample", "load_examples"]
