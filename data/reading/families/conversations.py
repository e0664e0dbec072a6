"""Conversations: the question is a user's turn, the key the assistant's or a field beside it.

    VLM-R1, LLaVA, LLaVA-Med    conversations [{from: human, value}, {from: gpt, value}], image
    LLaMA-Factory, ms-swift     messages [{role, content}], images, solution, system
    TRL                         prompt [{role, content: [{type: image}, {type: text, text}]}]
    verl                        prompt, images, reward_model {ground_truth}

Options that the user's turn lists, or a field beside it, are read as in a problem.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from data.reading.families.asked import asked_in
from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in, images_under
from data.reading.families.row import Row, RowError
from data.reading.families.turns import Conversation, conversation_in
from data.reading.families.values import is_empty, name_in, optional_text

_TURNS = ("conversations", "messages", "prompt")
_KEYS = ("solution", "answer", "ground_truth")
_IMAGES = ("image", "images")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    field = name_in(row, _TURNS)
    said = conversation_in(field, row[field])
    keys = dict(_keys(row, field, said))
    if not keys:
        raise RowError(
            row[field], f"({field}) does not end with the assistant's turn, and there is no"
            " solution: write the right answer"
        )  # fmt: skip
    asked = asked_in(row, _images(row, said), said.question, keys, text_field=field)
    return replace(asked, system=_system(row, said))


def _keys(row: dict[str, Any], field: str, said: Conversation) -> Iterator[tuple[str, Any]]:
    """Yield what the row has as its key, in each place where there is one."""
    for name in _KEYS:
        if not is_empty(row.get(name)):
            yield name, row[name]
    model = row.get("reward_model")
    if isinstance(model, dict) and not is_empty(model.get("ground_truth")):
        yield "reward_model", model["ground_truth"]
    if said.answer is not None:
        yield field, said.answer


def _images(row: dict[str, Any], said: Conversation) -> tuple[Any, ...]:
    images = images_under(row, _IMAGES)
    if images and said.images and images != said.images:
        raise RowError(
            [*images, *said.images],
            f"are the images of {name_in(row, _IMAGES)} and others of the turns: keep one of both",
        )
    return images or said.images or images_in(row, _IMAGES)


def _system(row: dict[str, Any], said: Conversation) -> str:
    beside = (optional_text(row, ["system"]) or "").strip()
    if beside and said.system and beside != said.system:
        raise RowError([beside, said.system], "(system) are two system turns: keep one")
    return beside or said.system


CONVERSATIONS = RowFamily(
    name="conversations",
    published="VLM-R1, LLaVA, LLaVA-Med, LLaMA-Factory, ms-swift, TRL, verl",
    known_by=(_TURNS,),
    fields=(
        Field("conversations", "the turns, {from, value} or {role, content}; content is a text or a"
              " list of {type: text, text} and {type: image}; roles: system, user or human,"
              " assistant or gpt. Of several questions the last is asked, behind what was said"
              " before. Of prompt a text alone, too", aliases=_TURNS[1:]),
        Field("solution", "the right answer, where it is not the last turn, the assistant's",
              aliases=(*_KEYS[1:], "reward_model")),
        Field("image", "a path, or a list; absent or null: none, or those in the turns",
              aliases=("images",)),
        Field("options", "the options, as in a question with options; those that the turn lists"
              " must be the same"),
        Field("system", "the system turn, where it is not the first one"),
    ),
    read=_read,
)  # fmt: skip
