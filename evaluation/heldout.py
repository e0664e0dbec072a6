"""Held-out accuracy during training: the callable that train.py hands to the trainer."""

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from data.examples import VQAExample
from data.sample import spread_sample
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction
from evaluation.asking.answerer import answer_under
from evaluation.asking.batching import most_images, questions_at_once
from evaluation.asking.dealing import fewest
from evaluation.asking.evaluation_plan import BATCH_SIZE
from evaluation.asking.questions import Questions
from evaluation.measures.gains import paired_gain
from evaluation.measures.sensitivity import image_sensitivity
from evaluation.measures.summary import summarize
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import idle_between_steps
from models.policy import Policy
from process.page import fitted
from process.tables.numbers import points


class HeldOut:
    """Scores a policy on the same questions every time, greedy, with the run's own prompt."""

    def __init__(
        self,
        examples: Sequence[VQAExample],
        turn_builder: TurnBuilder,
        mode: str,
        max_completion_tokens: int,
        *,
        batch_size: int = BATCH_SIZE,
        with_blank: bool = True,
    ) -> None:
        """Keep what every evaluation has in common.

        The arguments are those of `answer_under`; ``with_blank`` asks every question once more with
        nothing to see on its image, which is encoded once for both.
        """
        self._examples, self._turn_builder = examples, turn_builder
        self._mode, self._limit, self._batch_size = mode, max_completion_tokens, batch_size
        # a question without an image has nothing to leave blank
        self._with_blank = with_blank and any(example.images for example in examples)
        self.predictions: list[Prediction] = []  # of the newest evaluation, images seen

    def __call__(self, policy: Policy, step: int) -> dict[str, Any]:
        """Return the summary of this policy, and print its first line.

        Where several processes train together each answers some of the batches, and all of them
        return the same summary.

        With the blank control, ``blank`` holds the summary of the questions with an image, asked
        blind, and how many others there are, ``without_image``, if any; ``visual_gain`` what the
        images contribute, as `paired_gain` returns it, and ``image_sensitivity`` how many answers
        they change, both over the same questions.
        """
        self.predictions, *controls = answer_under(
            policy,
            self._examples,
            self._turn_builder,
            controls=[None, "blank"] if self._with_blank else [None],
            mode=self._mode,
            max_completion_tokens=self._limit,
            batch_size=self._batch_size,
        )
        # what CUDA graphs hold for a batch of this size is more than a rollout needs
        policy.free_decoding()
        summary = summarize(self.predictions)
        for blank in controls:
            summary |= compared(self.predictions, blank)
        tqdm.write(fitted(f"step {step}: {_first_line(summary)}"))
        return summary

    def ask_first_batch(self, policy: Policy) -> float:
        """Ask as many questions as fit one batch; return which share of an evaluation they are."""
        first = self._examples[: self._batch_size]
        answer_under(
            policy,
            first,
            self._turn_builder,
            controls=[None, "blank"] if self._with_blank else [None],
            mode=self._mode,
            max_completion_tokens=self._limit,
            batch_size=self._batch_size,
        )
        policy.free_decoding()
        return len(first) / len(self._examples)


def held_out(config: GRPOConfig, policy: Policy, questions: Questions) -> HeldOut | None:
    """Return what evaluates a run, asking as many at a time as fit beside what stays in memory.

    The sample is the same at every evaluation of the run. None where nothing is held out.
    """
    split = questions.splits.get("eval")
    if split is None:
        return None
    limit, idle = config.max_completion_tokens, idle_between_steps(config)
    examples = spread_sample(split.examples, config.eval_limit or None, config.seed)
    images = most_images(examples)
    fit = questions_at_once(policy, config.image_size, limit, idle, images=images)
    return HeldOut(
        examples,
        questions.turns,
        config.mode,
        limit,
        batch_size=fewest(fit),
        with_blank=config.eval_blank,
    )


def compared(predictions: Sequence[Prediction], blank: Sequence[Prediction]) -> dict[str, Any]:
    """Return what an evaluation says of its questions asked blind."""
    pairs = [pair for pair in zip(predictions, blank, strict=True) if pair[0].images]
    seen, blind = [one for one, _ in pairs], [other for _, other in pairs]
    without = len(predictions) - len(pairs)
    return {
        "blank": summarize(blind) | ({"without_image": without} if without else {}),
        "visual_gain": paired_gain(seen, blind),
        "image_sensitivity": {"blank": image_sensitivity(seen, blind)},
    }


def _first_line(summary: dict[str, Any]) -> str:
    overall = summary["overall"]
    line = (
        f"held-out accuracy {overall['accuracy']:.1%} (95 % range"
        f" {overall['low']:.1%} to {overall['high']:.1%}, {overall['n']} questions)"
    )
    parts = [part for part in ("closed", "open") if part in summary]
    if parts:
        shares = (f"{part} {summary[part]['accuracy']:.1%}" for part in parts)
        line += f", {', '.join(shares)}"
    if "unanswered" in overall:
        line += f"; {overall['unanswered']} could not be asked and count as wrong"
    if "blank" in summary:
        line += (
            f"; images blank {summary['blank']['overall']['accuracy']:.1%},"
            f" visual gain {points(summary['visual_gain']['gain'])} points,"
            f" {summary['image_sensitivity']['blank']['share']:.1%} of the answers change"
        )
    return line
