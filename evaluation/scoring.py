"""Greedy answers to a list of questions: what train.py measures and evaluate.py reports.

Questions are answered in batches of similar length, each image is decoded when its batch comes and
forgotten after it, so that memory does not grow with the number of questions.
"""

from collections.abc import Iterator, Sequence

from tqdm import tqdm

from data.examples import VQAExample
from data.prompts import render_prompt
from data.turns import TurnBuilder
from evaluation.encoding import encode_checked
from evaluation.letters import letter_probabilities
from evaluation.predictions import Prediction, judge
from grpo.sampling import generate_greedy
from models.policy import Policy


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
        turn_builder: makes the user's turn, the same object as in training.
        mode: which tags a completion must write.
        max_completion_tokens: where a completion is cut off, and counted as truncated.
        batch_size: questions of one forward. Changes speed and memory, answers only by rounding.
        progress: show a bar.
        with_letters: also compute the option letters' probabilities, one more forward per batch.
        control: "blank" answers the same questions with nothing to see on their images.

    Raises:
        ValueError: an image cannot be read, or prompt and completion do not fit into the model's
            context: nothing is truncated, the example is named.
    """
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size} must be at least 1")
    if control not in (None, "blank"):
        raise ValueError(f"unknown control {control!r}: use None or 'blank'")
    predictions: dict[int, Prediction] = {}
    bar = tqdm(
        total=len(examples), desc="evaluating", unit="question", disable=not progress, leave=False
    )
    with bar:
        for indices in _batches(examples, turn_builder.template, batch_size):
            batch = [examples[index] for index in indices]
            answers = _answer(
                policy, batch, turn_builder, mode, max_completion_tokens, with_letters, control
            )
            predictions.update(zip(indices, answers, strict=True))
            bar.update(len(batch))
            num_correct = sum(item.correct for item in predictions.values())
            bar.set_postfix(accuracy=f"{num_correct / len(predictions):.1%}")
    return [predictions[index] for index in range(len(examples))]


def _answer(
    policy: Policy,
    examples: Sequence[VQAExample],
    turn_builder: TurnBuilder,
    mode: str,
    max_completion_tokens: int,
    with_letters: bool,
    control: str | None,
) -> list[Prediction]:
    """Return the predictions of one batch."""
    prompts = [
        encode_checked(policy, example, turn_builder, max_completion_tokens) for example in examples
    ]
    if control == "blank":
        prompts = [prompt.blanked() for prompt in prompts]
    completions = generate_greedy(policy, prompts, max_completion_tokens)
    letters: Sequence[dict[str, float] | None] = [None] * len(examples)
    if with_letters:
        counts = [len(example.options) for example in examples]
        letters = letter_probabilities(policy, prompts, completions.texts, counts)
    lengths = completions.mask.sum(dim=1).tolist()
    truncated = completions.truncated.tolist()
    return [
        judge(
            example,
            completions.texts[row],
            mode=mode,
            completion_tokens=lengths[row],
            truncated=truncated[row],
            letter_probabilities=letters[row],
            control=control,
        )
        for row, example in enumerate(examples)
    ]


def _batches(examples: Sequence[VQAExample], template: str, batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of batches, longest first: what does not fit shows at once.

    Lengths are those of the texts, with one image more weighing more than any text; the tokens of
    an image are not known before it is decoded, and equal where --image-size makes images equal.
    """

    def length(index: int) -> tuple[int, int]:
        example = examples[index]
        text = render_prompt(template, example.question, example.options)
        return len(example.images), len(text)

    order = sorted(range(len(examples)), key=length, reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
