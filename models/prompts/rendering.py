"""Conversations as a checkpoint's chat template writes them.

A template is a program of the checkpoint's: it is run apart, where its time and memory are bounded
(process/apart.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from process.apart import FailedError, TooMuchError, done_apart


class TemplateFailedError(ValueError):
    """The template raised an error of its own."""


def rendered(
    template: str,
    file: Path,
    tokenizer: Any,
    conversations: Sequence[Sequence[dict[str, Any]]],
    *,
    add_generation_prompt: bool = False,
) -> list[str]:
    """Return the conversations as the template writes them.

    Raises:
        ValueError: naming the template's file and what it did.
    """
    # Imported before the fork: in it nobody lets go of a lock that another thread holds, and a
    # module that one imports at that moment is such a lock.
    import transformers.utils.chat_template_utils  # noqa: F401 with the template engine

    try:
        return done_apart(
            lambda: [
                tokenizer.apply_chat_template(
                    conversation,
                    chat_template=template,
                    add_generation_prompt=add_generation_prompt,
                    tokenize=False,
                )
                for conversation in conversations
            ]
        )
    except TooMuchError as error:
        raise ValueError(
            f"the chat template in {file} {error}: it is damaged or means harm; take the file of"
            " the checkpoint that the model was made from"
        ) from error
    except FailedError as error:
        raise TemplateFailedError(
            f"the chat template in {file} fails ({error}): take the file of the checkpoint that the"
            " model was made from"
        ) from error
