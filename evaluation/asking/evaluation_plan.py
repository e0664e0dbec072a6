"""The passes of one evaluation: the questions as they are, under controls, in other orders.

plan_passes        which rows are asked how, before a model is loaded
summarize_passes   summary.json's numbers, from the predictions of all passes

The asking is evaluation/asking/resumable.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.examples import VQAExample
from data.prompts import render_prompt
from evaluation.answers.controls import ControlRows, control_rows
from evaluation.answers.prediction import AnswerKey, Prediction
from evaluation.asking.orders import Order, permuted_rows
from evaluation.measures.decay import summarize_decay
from evaluation.measures.gains import summarize_control
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.sensitivity import NAMED
from evaluation.measures.sides import summarize_sides
from evaluation.measures.sliced import FIELDS
from evaluation.measures.summary import summarize

BATCH_SIZE = 32  # questions of one forward, where nobody says how many and none are counted


@dataclass(frozen=True)
class Pass:
    """Questions that are put to the model in one go."""

    title: str  # of the progress bar
    examples: list[VQAExample]
    control: str | None = None
    orders: list[Order] | None = None  # of each example's options; None: the rows' own

    def key(self, index: int) -> AnswerKey:
        """What tells the answer to an example from all others of the evaluation."""
        example = self.examples[index]
        own = tuple(range(len(example.options)))
        order = own if self.orders is None else self.orders[index]
        return example.id, self.control, order, example.image_names


@dataclass(frozen=True)
class EvaluationPlan:
    """All passes of an evaluation, the plain one first."""

    passes: list[Pass]
    controls: list[ControlRows]
    permute_options: int | None  # orders asked for

    @property
    def num_questions(self) -> int:
        """Answers over all passes."""
        return sum(len(item.examples) for item in self.passes)

    def images(self) -> list[VQAExample]:
        """Examples that hold every image which is going to be shown."""
        return [example for item in self.passes for example in item.examples]


def plan_passes(
    examples: Sequence[VQAExample],
    donors: Sequence[VQAExample],
    *,
    controls: Sequence[str] = (),
    shuffle_within: str = "modality",
    permute_options: int | None = None,
    seed: int = 0,
) -> EvaluationPlan:
    """Return the passes that flags ask for.

    Args:
        examples: the rows of the evaluation.
        donors: rows whose images a control may borrow.
        controls: as `evaluation.answers.controls.control_named` takes them.
        shuffle_within: a key of `evaluation.answers.borrowed.SHUFFLE_WITHIN`.
        permute_options: how many orders of the options, the rows' own among them.
        seed: of borrowed images and of orders.

    Raises:
        ValueError: an unknown control or stratum, a control that no row can have, fewer than two
            orders.
    """
    rows = [
        control_rows(name, examples, donors, seed=seed, shuffle_within=shuffle_within)
        for name in dict.fromkeys(controls)
    ]
    passes = [Pass("evaluating", list(examples))]
    passes += [Pass(item.name, item.examples, control=item.name) for item in rows]
    if permute_options is not None:
        for number, pairs in enumerate(permuted_rows(examples, permute_options, seed), start=2):
            permuted, orders = zip(*pairs, strict=True)
            passes.append(Pass(f"order {number}", list(permuted), orders=list(orders)))
    return EvaluationPlan(passes, rows, permute_options)


def summarize_passes(
    plan: EvaluationPlan, predictions: Sequence[Prediction], by: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what `summarize` says of the plain pass, and what the other passes add to it.

        calibration   see `summarize_confidence`; always there
        controls      name -> see `summarize_control`; of `flip` what `summarize_sides` adds
        decay         see `summarize_decay`, where images were blurred
        visual_gain   the gain over the blank control, where it was asked for
        image_sensitivity   control -> share of answers that change, of blank and shuffled images
        permutations  see `summarize_permutations`, where it was asked for

    Args:
        plan: what was asked.
        predictions: of all passes, in any order.
        by: fields of the rows to tell accuracies apart by, beside those of every summary.
    """
    plain = [item for item in predictions if item.is_plain]
    fields = tuple(dict.fromkeys((*FIELDS, *by)))
    summary = {**summarize(plain, fields), "calibration": summarize_confidence(plain)}
    if plan.controls:
        under = {
            rows.name: [item for item in predictions if item.control == rows.name]
            for rows in plan.controls
        }
        summary["controls"] = {
            rows.name: summarize_control(plain, under[rows.name], rows.impossible)
            for rows in plan.controls
        }
        if "flip" in under:
            summary["controls"]["flip"] |= summarize_sides(plain, under["flip"])
        if decay := summarize_decay(plain, under):
            summary["decay"] = decay
        if "blank" in summary["controls"]:
            summary["visual_gain"] = summary["controls"]["blank"]["gain"]
        sensitivity = {
            name: summary["controls"][name]["sensitivity"]
            for name in NAMED
            if name in summary["controls"]
        }
        if sensitivity:
            summary["image_sensitivity"] = sensitivity
    if plan.permute_options is not None:
        permuted = [item for item in predictions if item.control is None and not item.is_plain]
        summary["permutations"] = summarize_permutations(plain, permuted, plan.permute_options)
    return summary


def asking_order(examples: Sequence[VQAExample], template: str) -> list[int]:
    """Return the indices of the examples, longest first: what does not fit shows at once.

    Batches are consecutive ones, so that their rows are about equally long. Lengths are those of
    the texts, with one image more weighing more than any text; the tokens of an image are not known
    before it is decoded, and equal where --image-size makes images equal.
    """

    def length(index: int) -> tuple[int, int]:
        example = examples[index]
        text = render_prompt(template, example.question, example.options, example.form)
        return len(example.images), len(text)

    return sorted(range(len(examples)), key=length, reverse=True)
