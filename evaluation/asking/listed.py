"""Which training questions --exact-no-think can list the answers of."""

from collections.abc import Sequence

from data.examples import VQAExample
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
