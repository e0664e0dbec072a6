"""Turns as the chat template writes them: rendered once per number of images, for every text.

The template is run on texts of ours; a question then stands where such a text stood, and a system's
words likewise. So no row's words can make it run on, and a prompt costs no rendering.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from models.prompts.rendering import TemplateFailedError, rendered

# A system's and a user's. Each stands in its turn once, white space kept; the odd ones show what is
# done to white space, tags and what a template could take for its own.
_PROBES = ("Who reads this looks closely.", "What is seen here? A) CT, B) MRI")
_ODD_PROBES = tuple(
    f' \t\n<think> {{{{ {name} }}}} {{% y %}} "it\'s" & <b> </think><answer>肺</answer>\n '
    for name in ("system", "x")
)


@dataclass(frozen=True)
class Turns:
    """What a template writes around the texts of turns that follow each other."""

    around: tuple[str, ...]  # one more than there are texts
    strips: tuple[bool, ...]  # of each text: it leaves out white space at its ends

    def of(self, *texts: str) -> str:
        """Return the turns with these texts."""
        written = [self.around[0]]
        for text, strips, after in zip(texts, self.strips, self.around[1:], strict=True):
            written += [text.strip() if strips else text, after]
        return "".join(written)


def user_turn(template: str, file: Path, tokenizer: Any, num_images: int) -> Turns:
    """Return the turn of a user with so many images before the text.

    What stands before it, such as a system's turn, is what the template writes by itself.

    Args:
        template: the chat template.
        file: where it stands, for messages.
        tokenizer: renders it, its special tokens being known to the template.
        num_images: of the turn.

    Raises:
        ValueError: the template fails, does not end, grows beyond bounds, or changes the text.
    """
    turns = _probed(template, file, tokenizer, lambda user: [_user(user, num_images)], texts=1)
    if turns is None:
        raise ValueError(
            f"the chat template in {file} does not write the user's text once as it stands: give"
            " the template of the checkpoint that the model was made from"
        )
    return turns


def system_and_user_turn(template: str, file: Path, tokenizer: Any, num_images: int) -> Turns:
    """Return a system's turn and then a user's, for the texts of both.

    Arguments and errors are those of `user_turn`.

    Raises:
        ValueError: and where the template has no place for a system's turn.
    """
    reason = "does not write it once as it stands"
    # As a part, as images and questions are given; some templates take nothing but a text there.
    for content in (lambda text: [_part(text)], lambda text: text):
        try:
            turns = _probed(
                template,
                file,
                tokenizer,
                lambda system, user, content=content: [
                    {"role": "system", "content": content(system)},
                    _user(user, num_images),
                ],
                texts=2,
            )
        except TemplateFailedError as error:
            reason = f"fails at it ({error.__cause__})"
            continue
        if turns is not None:
            return turns
    raise ValueError(
        f"the row brings a system turn, and the chat template in {file} {reason}: take the turn out"
        " of the row, or a model whose template has a place for it"
    )


def _probed(
    template: str,
    file: Path,
    tokenizer: Any,
    conversation: Callable[..., list[dict[str, Any]]],
    *,
    texts: int,
) -> Turns | None:
    """Return what is written around the texts of a conversation.

    None where it is not each of them once, in their order, as it stands.
    """
    plain, odd = _PROBES[-texts:], _ODD_PROBES[-texts:]
    conversations = [conversation(*plain), conversation(*odd)]
    written, odd_written = rendered(
        template, file, tokenizer, conversations, add_generation_prompt=True
    )
    around = _around(written, plain)
    if around is not None:
        for strips in product((False, True), repeat=texts):
            turns = Turns(around, strips)
            if turns.of(*odd) == odd_written:
                return turns
    return None


def _around(written: str, texts: Sequence[str]) -> tuple[str, ...] | None:
    """Return what stands around the texts, None where one is not there once or before another."""
    around, rest = [], written
    for text in texts:
        before, _, rest = rest.partition(text)
        around.append(before)
    whole = any(written.count(text) != 1 for text in texts)
    return None if whole else (*around, rest)


def _user(text: str, num_images: int) -> dict[str, Any]:
    return {"role": "user", "content": [*[{"type": "image"}] * num_images, _part(text)]}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
