"""The rows of a training run, every one fit to be trained on or asked; the same when it goes on."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from data.examples import VQAExample
from data.faults import Fault, FindFaults
from data.sample import spread_sample
from data.source import Part
from data.sources import Split, Wanted, load_splits
from data.turns import TurnBuilder
from evaluation.asking.listed import check_answers_fit, check_listed
from evaluation.asking.preflight import Preflight, tell_skipped
from evaluation.asking.prompt_check import PromptCheck
from grpo.settings.config import GRPOConfig
from grpo.settings.moved import first_stems
from process.ranks import place


def run_splits(
    config: GRPOConfig,
    template: str,
    stored: Mapping[str, Any] | None,
    first_look: Callable[[Sequence[VQAExample]], None] = lambda _examples: None,
    preflight: Preflight | None = None,
    *,
    whole: bool = False,
) -> dict[Part, Split]:
    """Return the rows of a training run, "train" and where it is evaluated "eval".

    Without --skip-bad-rows a held-out row is looked at only if --eval-limit's sample holds it.
    With it the bad ones of the whole file are left out first, so the sample is of good rows; it is
    the same at every evaluation of the run. A resumed run leaves out the rows that it began
    without, and goes on with those that went bad since: they are redrawn when their turn comes.

    Args:
        config: the run's.
        template: the prompt's text.
        stored: run.json of a run that is resumed.
        first_look: is shown the training rows before any image is looked at, which may take long.
        preflight: finds the rows that cannot be trained on; None: `run_preflight`'s.
        whole: look at every held-out row, those that no sample holds among them.

    Raises:
        ValueError: what `load_split` or ``first_look`` raises; `check_listed`'s and
            `check_answers_fit`'s.
    """
    preflight = preflight or run_preflight(config, template)
    sample = partial(spread_sample, limit=config.eval_limit or None, seed=config.seed)
    of_eval = preflight if config.skip_bad_rows or whole else preflight.of_sample(sample)
    left_out = None if stored is None else stored.get("left_out")
    stems = {} if stored is None else first_stems(stored)

    def of_train(examples: Sequence[VQAExample]) -> dict[str, Fault]:
        if config.kind == "exact":
            check_listed(examples)
        first_look(examples)
        if config.kind == "exact":
            tokens_of = preflight.checks[0].answer_tokens
            check_answers_fit(examples, config.max_completion_tokens, tokens_of)
        return preflight(examples)

    def wanted(part: Part, names: Sequence[str], find_faults: FindFaults) -> Wanted:
        left = None if left_out is None else left_out.get(part, {})
        return Wanted(names, find_faults, left, stems.get(part))

    parts: dict[Part, Wanted] = {"train": wanted("train", config.train_json, of_train)}
    if config.eval_json:
        parts["eval"] = wanted("eval", config.eval_json, of_eval)
    splits = load_splits(
        parts,
        image_root=config.image_root or None,
        skip_bad_rows=config.skip_bad_rows,
        only=config.only,
    )
    for part, split in splits.items():
        if stored is not None and left_out is None:  # of a version that did not note them
            _check_count(split, stored, part)
        tell_skipped(split, f"{part}: ")
    return splits


def run_preflight(config: GRPOConfig, template: str) -> Preflight:
    """Return what finds the rows that a run cannot be trained on, and counts their prompts."""
    turns = TurnBuilder(template, config.image_size)
    check = PromptCheck(config.model, turns, config.max_completion_tokens)
    return Preflight([check], measures=place().is_first)  # which alone tells of them


def _check_count(split: Split, stored: Mapping[str, Any], part: str) -> None:
    then = stored.get("skipped_rows", {}).get(part, len(split.bad_rows))
    if then != len(split.bad_rows):
        raise ValueError(
            f"cannot resume: the run began with {then} bad rows of its {part} data left out, today"
            f" {len(split.bad_rows)} are bad, so the others would come in another order: restore"
            " the image files, or start a new run"
        )
