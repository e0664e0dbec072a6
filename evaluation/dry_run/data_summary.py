"""What a run trains on and is evaluated on: rows, slices, options, images, lengths of prompts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from data.examples import VQAExample
from data.options import is_lettered
from data.sample import spread_sample
from evaluation.asking.questions import Questions
from grpo.settings.config import GRPOConfig
from process.shown import shown_line

LOOKED_AT = 64  # rows of each part whose prompts are made, to count their tokens


@dataclass(frozen=True)
class PromptTokens:
    """Lengths of prompts, images included."""

    shortest: int
    mean: float
    longest: int
    rows: int  # how many were counted

    def __str__(self) -> str:
        return (
            f"prompts of {self.shortest:,} to {self.longest:,} tokens, {self.mean:,.1f} in the mean"
            f" (of {self.rows:,} rows)"
        )


def prompt_tokens(config: GRPOConfig, questions: Questions) -> dict[str, PromptTokens]:
    """Return the lengths of each part's prompts, of a sample that looks like the whole."""
    from models.checkpoint.loading import Processor  # with torch
    from models.named_model import model_directory

    processor = Processor.load(model_directory(config.model))
    found = {}
    for part, split in questions.splits.items():
        lengths = []
        for example in spread_sample(split.examples, LOOKED_AT, config.seed):
            turn = questions.turns(example)
            prompt = processor.encode(
                turn.text, turn.images, system=turn.system, keep_size=turn.keep_size
            )
            lengths.append(prompt.num_tokens)
        mean = sum(lengths) / len(lengths)
        found[str(part)] = PromptTokens(min(lengths), mean, max(lengths), len(lengths))
    return found


def data_lines(
    questions: Questions, tokens: Mapping[str, PromptTokens], eval_limit: int = 0
) -> list[str]:
    """Return a few lines for each part of the data.

    Args:
        questions: of the run.
        tokens: of each part's prompts.
        eval_limit: how many rows an evaluation asks; 0: all.
    """
    lines = ["Data"]
    for part, split in questions.splits.items():
        skipped = f", {len(split.bad_rows):,} bad ones left out" if split.bad_rows else ""
        asked = ""
        if part == "eval" and 0 < eval_limit < len(split.examples):
            asked = f", a sample of {eval_limit:,} is asked"
        lines.append(f"  {part}: {len(split.examples):,} rows{skipped}{asked}; {tokens[part]}")
        lines += [f"    {line}" for line in described(split.examples)]
    return lines


def described(examples: Sequence[VQAExample]) -> Iterator[str]:
    """Yield slices by modality and question type, options and images of the rows."""
    for name in ("modality", "question_type"):
        counts = Counter(getattr(example, name) for example in examples)
        listed = (f"{shown_line(key)} {count:,}" for key, count in counts.most_common())
        yield f"{name.replace('_', ' ')}: {', '.join(listed)}"
    if not all(map(is_lettered, examples)):
        forms = Counter(example.form.replace("_", " or ") for example in examples)
        yield f"answers: {', '.join(f'{name} {n:,}' for name, n in forms.most_common())}"
    lettered = [example for example in examples if is_lettered(example)]
    if lettered:
        yield f"options: {_counted(len(example.options) for example in lettered)}"
    yield f"images: {_counted(len(example.images) for example in examples)}"


def _counted(numbers: Iterator[int]) -> str:
    """Return how many rows have how many of something.

    >>> _counted(iter([4, 4, 2]))
    '2 in 1 rows, 4 in 2 rows'
    """
    counts = Counter(numbers)
    return ", ".join(f"{number} in {counts[number]:,} rows" for number in sorted(counts))
