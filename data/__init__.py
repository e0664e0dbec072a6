"""VQA examples: readers of published files, prompts, options, and the embedded phantoms."""

from data.examples import VQAExample
from data.reading.readers import load_examples

__all__ = ["VQAExample", "load_examples"]
