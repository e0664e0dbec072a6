"""``--check-data``: all that can be wrong with a command's rows, and the first of them as asked.

No weights are loaded, nothing is written, and no folder is made. A run says the same in short
(`say_rows`) before it loads anything.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.examples import VQAExample
from data.source import Part
from data.sources import BadRowsError, Split
from evaluation.asked_rows import load_asked_rows
from evaluation.asking.asked_model import asked_model
from evaluation.asking.built_in import say_same_names
from evaluation.asking.preflight import Preflight
from evaluation.asking.questions import Questions
from evaluation.asking.run_splits import run_preflight, run_splits
from evaluation.configs import ScoreConfig
from evaluation.data_check.first_rows import first_row_lines
from evaluation.data_check.lengths import PromptLengths
from evaluation.data_check.summary import all_lines, first_lines
from grpo.settings.config import GRPOConfig
from models.named_model import check_named
from process.page import fitted


def say_rows(questions: Questions, eval_limit: int) -> None:
    """Print the first lines of a run: what it is going to ask of which rows."""
    lengths = lengths_of(questions.splits, questions.preflight)
    lines = first_lines(questions.splits, lengths, eval_limit)
    print(fitted("\n".join(lines)))


def lengths_of(splits: Mapping[Part, Split], preflight: Preflight) -> dict[Part, PromptLengths]:
    """Return the lengths of each part's prompts, as they were counted when they were checked."""
    return {part: PromptLengths.of(preflight, split) for part, split in splits.items()}


def check_training_data(
    config: GRPOConfig,
    template: str,
    stored: Mapping[str, Any] | None,
    first_look: Callable[[Sequence[VQAExample]], None],
) -> None:
    """Say everything about the rows of a training run.

    Args:
        config: the run's.
        template: the prompt's text.
        stored: run.json of a run that goes on.
        first_look: is shown the training rows before any image is looked at.

    Raises:
        ValueError: what is wrong, once all that could be found is printed.
    """
    say_same_names([config.model], (*config.train_json, *config.eval_json))
    check_named(config.model, whole=config.lora_rank > 0)
    preflight = run_preflight(config, template)
    _check(
        lambda: run_splits(config, template, stored, first_look, preflight, whole=True),
        preflight,
        config.eval_limit,
    )


def check_asked_data(config: ScoreConfig) -> None:
    """Say everything about the rows of an evaluation.

    Raises:
        ValueError: what is wrong, once all that could be found is printed.
    """
    say_same_names([config.checkpoint], config.sources)
    model = asked_model(config.checkpoint, config.checkpoint, config)
    model.tell_warnings()
    preflight = Preflight([model.prompt_check], measures=True)

    def read() -> Mapping[Part, Split]:
        rows = load_asked_rows(
            "",
            config.sources,
            preflight,
            image_root=config.image_root,
            skip_bad_rows=config.skip_bad_rows,
        )
        return {"eval": rows.split}

    _check(read, preflight, config.limit or 0)


def _check(read: Callable[[], Mapping[Part, Split]], preflight: Preflight, eval_limit: int) -> None:
    error = None
    try:
        splits = read()
    except BadRowsError as found:
        splits, error = found.splits, found
    lines = all_lines(splits, lengths_of(splits, preflight), eval_limit)
    for part, split in splits.items():
        lines += ["", *first_row_lines(part, split.examples, preflight)]
    print("\n".join(lines))
    if error is not None:
        raise error
