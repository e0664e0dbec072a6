"""The questions of a training run and how they are put: its data and its prompt, all checked.

Nothing imports torch: a mistake in a file is told within seconds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from data.curriculum import Curriculum
from data.examples import VQAExample
from data.options import is_lettered, kept_order_note
from data.order import ExampleOrder
from data.prompts import supervised_target, well_formed_answers
from data.source import Part
from data.sources import Split
from data.turns import TurnBuilder
from evaluation.asking.built_in import say_same_names
from evaluation.asking.preflight import Preflight
from evaluation.asking.run_splits import run_preflight, run_splits
from evaluation.asking.settings import asked_template
from grpo.settings.card import CARD, card_of, card_warnings
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import untrained_settings
from models.named_model import check_named
from process.bars import warn
from process.memory import during

if TYPE_CHECKING:  # these import torch
    from models.policy import Policy
    from models.prompts.prompt import EncodedPrompt


@dataclass(frozen=True)
class Questions:
    """What a run trains on and is evaluated on, put as its prompt says."""

    splits: Mapping[Part, Split]  # "train", and "eval" where something is held out
    turns: TurnBuilder  # has the prompt's text
    order: ExampleOrder  # of the training questions
    preflight: Preflight  # that has looked at them

    @property
    def num_training(self) -> int:
        """Training questions of one epoch."""
        return len(self.splits["train"].examples)

    @property
    def checksums(self) -> dict[str, Mapping[str, str]]:
        """SHA-256 of every source, by part of the data."""
        return {part: split.checksums for part, split in self.splits.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of them, by its keys."""
        splits = self.splits.items()
        return {
            "id_stems": {part: split.stems for part, split in splits},
            "skipped_rows": {part: len(split.bad_rows) for part, split in splits},
            "left_out": {part: split.left_out for part, split in splits},
        }

    def encoder(
        self, policy: "Policy", max_completion_tokens: int
    ) -> Callable[[VQAExample], "EncodedPrompt"]:
        """Return what makes a question's prompt; see `encode_checked` for what it raises."""
        from evaluation.asking.encoding import encode_checked  # imports torch

        return partial(
            encode_checked,
            policy,
            turn_builder=self.turns,
            max_completion_tokens=max_completion_tokens,
        )

    def curriculum(self, config: GRPOConfig, state: Mapping[str, Any]) -> Curriculum | None:
        """Return what draws the training questions instead of `order`, where one is asked for.

        Args:
            config: the run's.
            state: state.json of the checkpoint that the run goes on from.

        Raises:
            ValueError: as `Curriculum.of`.
        """
        from grpo.prefetch import STEPS_AHEAD  # imports torch

        if config.curriculum == "none":
            return None
        return Curriculum.of(self.order, config.prompts_per_step, STEPS_AHEAD, state)

    @staticmethod
    def target(example: VQAExample) -> str:
        """Return what the supervised baseline is taught to answer."""
        return supervised_target(example)

    @staticmethod
    def answers(example: VQAExample) -> Sequence[str]:
        """Return every well-formed answer of a choice, as --exact-no-think lists them."""
        return well_formed_answers(example)


def run_template(config: GRPOConfig, stored: Mapping[str, Any] | None) -> str:
    """Return the prompt's text: --prompt-template's, else the checkpoint's own, else the mode's.

    Args:
        config: the run's.
        stored: run.json of a run that goes on, whose text is kept: its file is no longer needed.
    """
    if stored and config.prompt_template == stored["config"].get("prompt_template", ""):
        return stored["prompt_template"]
    if not stored:
        _warn(untrained_settings(config))
    card, flags = card_of(config.model), {"prompt_template": config.prompt_template}
    text, origin = asked_template(config.mode, flags, card)
    if origin == CARD:
        print(f"prompt: as in {config.model}/{CARD}")
    _warn(card_warnings({"prompt_template": text} if origin == "flag" else {}, card))
    return text


def _warn(texts: Iterable[str]) -> None:
    for text in texts:
        warn(text)


def read_questions(
    config: GRPOConfig,
    template: str,
    stored: Mapping[str, Any] | None,
    first_look: Callable[[Sequence[VQAExample]], None],
) -> Questions:
    """Return a run's questions; what is cheap to find wrong comes first.

    Args:
        config: the run's.
        template: the prompt's text.
        stored: run.json of a run that goes on, which keeps its rows.
        first_look: is shown the training rows before any image is looked at.

    Raises:
        ValueError: there is no such model, or what `run_splits` raises.
    """
    say_same_names([config.model], (*config.train_json, *config.eval_json))
    check_named(config.model, whole=config.lora_rank > 0)
    first_look = during("the first look at the rows", "lower what a reward needs")(first_look)
    preflight = run_preflight(config, template)
    splits = run_splits(config, template, stored, first_look, preflight)
    examples = splits["train"].examples
    check_grounding(config.grounding, examples)
    if config.shuffle_options and (note := kept_order_note(examples)):
        print(f"train: {note}")
    order = ExampleOrder(examples, config.seed, config.shuffle_options)
    return Questions(splits, TurnBuilder(template, config.image_size), order, preflight)


def check_grounding(grounding: str, examples: Iterable[VQAExample]) -> None:
    """Raise ValueError for a term that would be measured on none of the training questions."""
    if grounding != "none" and not any(is_lettered(item) and item.images for item in examples):
        raise ValueError(
            f"--grounding {grounding} reads the probabilities of options' letters with the image"
            " blank, and no training question has lettered options and an image: leave the flag out"
        )
