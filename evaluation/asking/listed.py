"""Which training questions --exact-no-think can list the answers of."""

from collections.abc import Callable, Sequence

from data.examples import VQAExample
from data.prompts import well_formed_answers
from process.shown import shown_line


def check_listed(examples: Sequence[VQAExample]) -> None:
    """Raise ValueError where the answers of some training questions cannot be listed."""
    others = [example for example in examples if example.kind != "choice"]
    if others:
        raise ValueError(
            f"--exact-no-think lists every answer of a question, and {len(others):,} of"
            f" {len(examples):,} training rows have neither lettered options nor yes or no, the"
            f" first: {shown_line(others[0].id)}: read only rows that have (--only FIELD=VALUE,"
            " such as answer_type=CLOSED), or leave the flag out and sample"
        )


def check_answers_fit(
    examples: Sequence[VQAExample], limit: int, tokens_of: Callable[[str], int]
) -> None:
    """Raise ValueError where an answer is longer than --max-completion-tokens, as a step would.

    Args:
        examples: whose answers can be listed.
        limit: of tokens.
        tokens_of: how many a completion has, its end included.
    """
    from grpo.exact import check_answer_length  # imports torch

    answers = {text for example in examples for text in well_formed_answers(example)}
    check_answer_length(max(map(tokens_of, answers), default=0), limit)
