"""The turns of a conversation as one question: the system's, what is asked, what was answered.

A turn is ``{role, content}`` or ``{from, value}``; content is a text, or a list of ``{type, text}``
in which an image is ``{"type": "image"}``. Where several questions were asked, the last one is the
row's, and what was said before stands in front of it, each turn behind who said it: the prompt is
one user's turn here, and a question that goes back to an answer would mean nothing alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.reading.families.row import RowError
from data.reading.placeholders import PLACEHOLDER, without_placeholders

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
ROLES = {
    **dict.fromkeys(("user", "human"), USER),
    **dict.fromkeys(("assistant", "gpt", "model", "bot"), ASSISTANT),
    "system": SYSTEM,
}
IMAGE_MARK = "<image>"
_SAID_BY = {USER: "User", ASSISTANT: "Assistant"}
_IMAGE_TYPES = ("image", "image_url")
_MOST_TURNS = 200


@dataclass(frozen=True)
class Conversation:
    """What a row's turns say."""

    system: str
    question: str  # with a mark for each image
    images: tuple[Any, ...]  # those that stand in the turns themselves
    answer: Any  # the last turn's, if it is the assistant's; None: there is none


def conversation_in(field: str, turns: Any) -> Conversation:
    """Return what a row's turns say.

    Args:
        field: where the row has them, for messages.
        turns: its value.

    Raises:
        RowError: it is no list of turns, of other roles than system, user and assistant, or nobody
            asks anything.
    """
    if isinstance(turns, str):
        turns = [{"role": USER, "content": turns}]
    if not isinstance(turns, list) or not turns:
        raise RowError(turns, f"({field}) is not a list of turns")
    if len(turns) > _MOST_TURNS:
        raise RowError(len(turns), f"turns of {field} are more than {_MOST_TURNS}")
    images: list[Any] = []
    said = [_turn(field, number, turn, images) for number, turn in enumerate(turns)]
    system = [content for role, content in said if role == SYSTEM]
    if len(system) > 1 or (system and said[0][0] != SYSTEM):
        raise RowError(
            system[-1], f"({field}) is a system turn behind another turn: keep the first"
        )
    said = said[len(system) :]
    answer = said.pop()[1] if said and said[-1][0] == ASSISTANT else None
    if not any(role == USER for role, _ in said):
        raise RowError(turns, f"({field}) has no user's turn before the answer: nothing is asked")
    if said[-1][0] == ASSISTANT:
        raise RowError(said[-1][1], f"({field}) is followed by another turn of the assistant's")
    return Conversation(
        system=str(system[0]).strip() if system else "",
        question=_question([(role, str(content)) for role, content in said]),
        images=tuple(images),
        answer=answer,
    )


def _turn(field: str, number: int, turn: Any, images: list[Any]) -> tuple[str, Any]:
    """Return who speaks and what is said; images that stand in it are added to those of before."""
    if not isinstance(turn, dict):
        raise RowError(turn, f"({field}, turn {number}) is no object with a role and a content")
    name = turn.get("role", turn.get("from"))
    role = ROLES.get(name.strip().casefold()) if isinstance(name, str) else None
    if role is None:
        raise RowError(
            name,
            f"({field}, turn {number}) is who speaks: only system, user (human) and assistant (gpt)"
            " are read",
        )
    content = turn.get("content", turn.get("value"))
    if role == ASSISTANT and isinstance(content, int | float | bool):
        return role, content  # a key that is a number
    text = _text(field, number, content, images if role == USER else None)
    if not text.strip():
        raise RowError(content, f"({field}, turn {number}) says nothing")
    return role, text


def _text(field: str, number: int, content: Any, images: list[Any] | None) -> str:
    """Return a content's text, with a mark where an image stands.

    Args:
        field: where the turns are.
        number: of the turn.
        content: a text or a list of parts.
        images: gets those that stand in the parts; None: there must be none.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowError(content, f"({field}, turn {number}) is neither a text nor a list of parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _IMAGE_TYPES and images is not None:
            images += [image] if (image := _image(part)) is not None else []
            texts.append(IMAGE_MARK)
        elif isinstance(part, str) or (kind == "text" and isinstance(part.get("text"), str)):
            texts.append(part if isinstance(part, str) else part["text"])
        else:
            raise RowError(
                part, f"({field}, turn {number}) is no part that is read: a text, or a user's image"
            )
    return "".join(texts)


def _image(part: dict[str, Any]) -> Any:
    """Return the image that a part holds; None where it only marks the place of one."""
    for name in ("image", "image_url", "path", "url"):
        if (value := part.get(name)) is not None:
            return value.get("url", value) if isinstance(value, dict) else value
    return None


def _question(said: Sequence[tuple[str, str]]) -> str:
    """Return the last question; where more was said before, all of it, its marks in front.

    A mark in the middle of a sentence stays, and makes a bad row of it, as in a single question.
    """
    if len(said) == 1:
        return said[0][1]
    marks, lines = 0, []
    for role, text in said:
        count = len(PLACEHOLDER.findall(text))
        bare = without_placeholders(text, count).strip()
        marks += count - len(PLACEHOLDER.findall(bare))
        lines.append(f"{_SAID_BY[role]}: {bare}")
    return IMAGE_MARK * marks + "\n".join(lines)
