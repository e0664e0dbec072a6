"""A turn as the chat template writes it: rendered once per number of images, for every text.

A template is a program of the checkpoint's. It is run apart, where its time and memory are bounded
(process/apart.py), on texts of ours; a question then stands where such a text stood. So no
question's words can make it run on, and a prompt costs no rendering.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process.apart import FailedError, TooMuchError, done_apart

# Stands in the turn once, white space kept; the other one shows what is done to white space, tags
# and what a template could take for its own.
_PROBE = "What is seen here? A) CT, B) MRI"
_ODD_PROBE = ' \t\n<think> {{ x }} {% y %} "it\'s" & <b> </think><answer>肺</answer>\n '


@dataclass(frozen=True)
class Turn:
    """What a template writes around the text of a user's turn."""

    before: str
    after: str
    strips: bool  # it leaves out white space at the text's ends

    def of(self, text: str) -> str:
        """Return the turn with this text."""
        return self.before + (text.strip() if self.strips else text) + self.after


def user_turn(template: str, file: Path, tokenizer: Any, num_images: int) -> Turn:
    """Return the turn of a user with so many images before the text.

    Args:
        template: the chat template.
        file: where it stands, for messages.
        tokenizer: renders it, its special tokens being known to the template.
        num_images: of the turn.

    Raises:
        ValueError: the template fails, does not end, grows beyond bounds, or changes the text.
    """
    turns = [
        [{"role": "user", "content": [*[{"type": "image"}] * num_images, _text(text)]}]
        for text in (_PROBE, _ODD_PROBE)
    ]
    plain, odd = rendered(template, file, tokenizer, turns, add_generation_prompt=True)
    before, found, after = plain.partition(_PROBE)
    if found and _PROBE not in after:
        for strips in (False, True):
            turn = Turn(before, after, strips)
            if turn.of(_ODD_PROBE) == odd:
                return turn
    raise ValueError(
        f"the chat template in {file} does not write the user's text once as it stands: give the"
        " template of the checkpoint that the model was made from"
    )


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


class TemplateFailedError(ValueError):
    """The template raised an error of its own."""


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
