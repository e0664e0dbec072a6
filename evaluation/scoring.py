"""Greedy answers to a list of questions: what train.py measures and evaluate.py reports.

Questions are answered in batches of similar length, each image is decoded when its batch comes and
forgotten after it, so that memory does not grow with the number of questions. `score` is for as
many as fit into memory with their answers; evaluation/resumable.py keeps answers on the disk.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.controls import CONTROLS
from evaluation.encoding import encode_checked
from evaluation.letters import Letters, letter_probabilities
from evaluation.passes import asking_order
from evaluation.predictions import Prediction, judge
from grpo.sampling import generate_greedy
from grpo.unreadable import ERRORS, UnreadableRows
from models.policy import Policy
from models.prompt import EncodedPrompt
from process.bars import bar


@dataclass(frozen=True)
class Asker:
    """How questions are put to a policy; called with those of one batch, it answers them.

    A row whose image cannot be read any more, or whose prompt does not fit, stays unanswered: it is
    said, and it counts as wrong. Raises ValueError where that happens to too many in a row.
    """

    policy: Policy
    turn_builder: TurnBuilder  # the same object as in training
    mode: str  # which tags a completion must write
    max_completion_tokens: int  # where a completion is cut off, and counted as truncated
    with_letters: bool = False  # the option letters' probabilities too, one more forward per batch
    unreadable: UnreadableRows = field(default_factory=UnreadableRows)

    def __call__(
        self,
        examples: Sequence[VQAExample],
        *,
        control: str | None = None,
        orders: Sequence[Sequence[int]] | None = None,
    ) -> list[Prediction]:
        """Return the predictions of one batch.

        Args:
            examples: the questions.
            control: "blank" answers them with nothing to see on their images; the other names say
                what was done to the examples (evaluation/controls.py), and are only noted.
            orders: which order each example's options were brought into; None: their own.
        """
        encoded = [self._encode(example) for example in examples]
        pairs = [
            (example, prompt)
            for example, prompt in zip(examples, encoded, strict=True)
            if not isinstance(prompt, str)
        ]
        answers = iter(self._answers(pairs, control))
        predictions = []
        for row, (example, prompt) in enumerate(zip(examples, encoded, strict=True)):
            answer = _NOTHING | {"unanswered": prompt} if isinstance(prompt, str) else next(answers)
            order = None if orders is None else orders[row]
            predictions.append(
                judge(example, mode=self.mode, permutation=order, control=control, **answer)
            )
        return predictions

    def _encode(self, example: VQAExample) -> EncodedPrompt | str:
        """Return the example's prompt, or why it has none; that is said, too."""
        try:
            prompt = encode_checked(
                self.policy, example, self.turn_builder, self.max_completion_tokens
            )
        except ERRORS as error:
            self.unreadable.add(error)
            reason = f"{error}"
            tqdm.write(f"warning: not answered, counted as wrong: {reason}", file=sys.stderr)
            return reason
        self.unreadable.clear()
        return prompt

    def _answers(
        self, pairs: Sequence[tuple[VQAExample, EncodedPrompt]], control: str | None
    ) -> list[dict[str, Any]]:
        """Return what the policy wrote to each prompt, as arguments of `judge`."""
        if not pairs:
            return []
        examples, prompts = zip(*pairs, strict=True)
        if control == "blank":
            prompts = [prompt.blanked() for prompt in prompts]
        completions = generate_greedy(self.policy, prompts, self.max_completion_tokens)
        letters: Sequence[Letters | None] = [None] * len(examples)
        if self.with_letters:
            counts = [len(example.options) for example in examples]
            letters = letter_probabilities(self.policy, prompts, completions.texts, counts)
        lengths = completions.mask.sum(dim=1).tolist()
        truncated = completions.truncated.tolist()
        return [
            {
                "completion": completions.texts[row],
                "completion_tokens": lengths[row],
                "truncated": truncated[row],
                "letter_probabilities": letters[row],
                "letter_mass": letters[row] and letters[row].mass,
            }
            for row in range(len(prompts))
        ]


# What is known of a question that could not be asked.
_NOTHING = {"completion": "", "completion_tokens": 0, "truncated": False}


def score(
    policy: Policy,
    examples: Sequence[VQAExample],
    turn_builder: TurnBuilder,
    *,
    mode: str,
    max_completion_tokens: int,
    batch_size: int = 32,
    progress: bool = True,
    with_letters: bool = False,
    control: str | None = None,
) -> list[Prediction]:
    """Return the policy's greedy answer to every question, in the order of ``examples``.

    Args:
        policy: the model that answers.
        examples: the questions; ids, slices and right answers go into the predictions as they are.
        batch_size: questions of one forward. Changes speed and memory, answers only by rounding.
        progress: show a bar.
        control: see `Asker.__call__`; one name for all of the questions.
        turn_builder, mode, max_completion_tokens, with_letters: see `Asker`.

    Raises:
        ValueError: an unknown control, a batch of less than one, and what an `Asker` raises.
    """
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size} must be at least 1")
    if control not in (None, *CONTROLS):
        raise ValueError(f"unknown control {control!r}: use None or one of {', '.join(CONTROLS)}")
    asker = Asker(policy, turn_builder, mode, max_completion_tokens, with_letters)
    order = asking_order(examples, turn_builder.template)
    predictions: dict[int, Prediction] = {}
    num_correct = 0
    progress_bar = bar(
        total=len(examples), desc="evaluating", unit="question", disable=not progress, leave=False
    )
    with progress_bar:
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            answers = asker([examples[index] for index in indices], control=control)
            predictions.update(zip(indices, answers, strict=True))
            progress_bar.update(len(indices))
            num_correct += sum(item.correct for item in answers)
            progress_bar.set_postfix(accuracy=f"{num_correct / len(predictions):.1%}")
    return [predictions[index] for index in range(len(examples))]
