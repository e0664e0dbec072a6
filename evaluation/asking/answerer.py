"""Greedy answers to a list of questions: what train.py measures and evaluate.py reports.

Questions are answered in batches of similar length, each image is decoded shortly before its batch
comes and forgotten after it, so that memory does not grow with the number of questions.
`answer_all` is for as many as fit into memory with their answers; evaluation/asking/resumable.py
keeps answers on the disk. Where several processes work together, each answers some of the batches
(evaluation/asking/dealing.py), and all have the answers.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.controls import control_named
from evaluation.answers.prediction import Prediction, judge
from evaluation.answers.redrawn import Redraw
from evaluation.asking.dealing import dealt, own_jobs, packed, unpacked
from evaluation.asking.encoding import encode_checked, encoded_ahead
from evaluation.asking.evaluation_plan import BATCH_SIZE, asking_order
from evaluation.asking.option_letters import Letters, letters_of_lettered
from evaluation.asking.unread import NOT_ANSWERED, Unread, reason_of
from grpo.finite import check_finite_logits, check_masses
from grpo.sampling import generate_greedy
from grpo.unreadable import ROW_ERRORS
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar
from process.ranks import world


@dataclass(frozen=True)
class Answerer:
    """How questions are put to a policy; called with those of one batch, it answers them.

    A row whose image cannot be read any more, or whose prompt does not fit, stays unanswered: it
    counts as wrong, and whoever gets the predictions says so (evaluation/asking/unread.py).
    """

    policy: Policy
    turn_builder: TurnBuilder  # the same object as in training
    mode: str  # which tags a completion must write
    max_completion_tokens: int  # where a completion is cut off, and counted as truncated
    with_letters: bool = False  # the option letters' probabilities too, one more forward per batch

    def __call__(
        self,
        examples: Sequence[VQAExample],
        *,
        control: str | None = None,
        orders: Sequence[Sequence[int]] | None = None,
    ) -> list[Prediction]:
        """Return the predictions of one batch, encoded here and now; see `answer`."""
        redraw = None if control is None else control_named(control).redraw
        prompts = self.readable([self.encode(example, redraw) for example in examples])
        return self.answer(examples, prompts, control=control, orders=orders)

    def encode(
        self, example: VQAExample, redraw: Redraw | None = None
    ) -> EncodedPrompt | Exception:
        """Return the example's prompt, or why it has none; on any thread."""
        try:
            return encode_checked(
                self.policy, example, self.turn_builder, self.max_completion_tokens, redraw
            )
        except ROW_ERRORS as error:
            return error

    def readable(self, encoded: Sequence[EncodedPrompt | Exception]) -> list[EncodedPrompt | str]:
        """Return the prompts of a batch; in the place of those that are none, why."""
        return [one if isinstance(one, EncodedPrompt) else reason_of(one) for one in encoded]

    def answer(
        self,
        examples: Sequence[VQAExample],
        prompts: Sequence[EncodedPrompt | str],
        *,
        control: str | None = None,
        orders: Sequence[Sequence[int]] | None = None,
    ) -> list[Prediction]:
        """Return the predictions of one batch.

        Args:
            examples: the questions.
            prompts: as `readable` returns them, with their images also where these are left blank.
            control: one that ``blanks`` answers them with nothing to see on their images; the
                others say what was done to the examples or their prompts, and are only noted.
            orders: which order each example's options were brought into; None: their own.
        """
        pairs = [
            (example, prompt)
            for example, prompt in zip(examples, prompts, strict=True)
            if not isinstance(prompt, str)
        ]
        answers = iter(self._answers(pairs, control))
        predictions = []
        for row, (example, prompt) in enumerate(zip(examples, prompts, strict=True)):
            answer = _NOTHING | {"unanswered": prompt} if isinstance(prompt, str) else next(answers)
            order = None if orders is None else orders[row]
            predictions.append(
                judge(example, mode=self.mode, permutation=order, control=control, **answer)
            )
        return predictions

    def _answers(
        self, pairs: Sequence[tuple[VQAExample, EncodedPrompt]], control: str | None
    ) -> list[dict[str, Any]]:
        """Return what the policy wrote to each prompt, as arguments of `judge`."""
        if not pairs:
            return []
        examples = [example for example, _ in pairs]
        prompts = [prompt for _, prompt in pairs]
        if control is not None and control_named(control).blanks:
            prompts = [prompt.blanked() for prompt in prompts]
        completions = generate_greedy(self.policy, prompts, self.max_completion_tokens)
        names = [example.id for example in examples]
        check_finite_logits(self.policy, completions, names)
        letters: Sequence[Letters | None] = [None] * len(examples)
        if self.with_letters:
            letters = letters_of_lettered(self.policy, prompts, completions.texts, examples)
            masses = [None if found is None else found.mass for found in letters]
            check_masses(self.policy, masses, names)
        lengths = completions.mask.sum(dim=1).tolist()
        truncated = completions.truncated.tolist()
        return [
            {
                "completion": completions.texts[row],
                "completion_tokens": lengths[row],
                "truncated": truncated[row],
                "letter_probabilities": found,
                "letter_mass": None if found is None else found.mass,
            }
            for row, found in enumerate(letters)
        ]


# What is known of a question that could not be asked.
_NOTHING = {"completion": "", "completion_tokens": 0, "truncated": False}


def answer_all(
    policy: Policy,
    examples: Sequence[VQAExample],
    turn_builder: TurnBuilder,
    *,
    control: str | None = None,
    **how: Any,
) -> list[Prediction]:
    """Return the policy's greedy answer to every question, in the order of ``examples``.

    Under one control, or None; all else is as in `answer_under`.
    """
    (predictions,) = answer_under(policy, examples, turn_builder, controls=[control], **how)
    return predictions


def answer_under(
    policy: Policy,
    examples: Sequence[VQAExample],
    turn_builder: TurnBuilder,
    *,
    controls: Sequence[str | None],
    mode: str,
    max_completion_tokens: int,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
    with_letters: bool = False,
) -> list[list[Prediction]]:
    """Return the greedy answers under each of the controls, each in the order of ``examples``.

    Every image is encoded once for all controls that show it as it is, by threads and ahead of its
    batch.

    Args:
        policy: the model that answers.
        examples: the questions; ids, slices and right answers go into the predictions as they are.
        controls: see `Answerer.answer`; None asks the questions as they are.
        batch_size: questions of one forward. Changes speed and memory, answers only by rounding.
        progress: show a bar, with the accuracy under the first control.
        turn_builder, mode, max_completion_tokens, with_letters: see `Answerer`.

    Raises:
        ValueError: an unknown control, a batch of less than one, and what an `Answerer` raises.
    """
    _check_batches(controls, batch_size)
    answerer = Answerer(policy, turn_builder, mode, max_completion_tokens, with_letters)
    order = asking_order(examples, turn_builder.template)
    starts = range(0, len(order), batch_size)
    batches = [[examples[i] for i in order[start : start + batch_size]] for start in starts]
    answers: list[list[Prediction]] = [[] for _ in controls]  # in the order of asking
    unread = Unread(NOT_ANSWERED)
    progress_bar = bar(
        total=len(examples) * len(controls),
        desc="evaluating",
        unit="question",
        disable=not (progress and world().is_first),
        leave=False,
    )
    with progress_bar, closing(encoded_ahead(own_jobs(batches), answerer.encode)) as encoded:

        def redraws(control: str | None) -> bool:
            return control is not None and control_named(control).redraw is not None

        def under_all(batch: Sequence[VQAExample]) -> list[Prediction]:
            prompts = answerer.readable(next(encoded))
            under = [
                answerer(batch, control=control)
                if redraws(control)
                else answerer.answer(batch, prompts, control=control)
                for control in controls
            ]
            return [item for some in under for item in some]

        for found in dealt(batches, under_all, "evaluating", pack=packed, unpack=unpacked):
            size = len(found) // len(controls)
            unread.note(item.unanswered for item in found[:size])
            for number, answered in enumerate(answers):
                answered += found[number * size : (number + 1) * size]
            progress_bar.update(len(found))
            num_correct = sum(item.correct for item in answers[0])
            progress_bar.set_postfix(accuracy=f"{num_correct / len(answers[0]):.1%}")
    places = sorted(range(len(order)), key=order.__getitem__)  # the inverse permutation
    return [[answered[place] for place in places] for answered in answers]


def _check_batches(controls: Sequence[str | None], batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size} must be at least 1")
    for name in controls:
        if name is not None:
            control_named(name)
