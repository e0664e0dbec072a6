"""Open medical questions: a question and its answer, about an image that lies under a root.

    SLAKE            img_name, question, answer, q_lang, location, modality, answer_type, ..
    VQA-RAD          image_name, question, answer, phrase_type, image_organ, answer_type, ..
    MIMIC-CXR-VQA    image_path, question, answer (a list), split, semantic_type, subject_id, ..
    GEMeX            image_path, question, answer

What the answer is decides how the question is asked (data/reading/keys.py); ``answer_type`` sorts
rows and is not believed. Where the question itself lists options, the answer is one of them.
"""

from typing import Any

from data.reading.families.asked import asked_in
from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in
from data.reading.families.row import Row
from data.reading.families.values import text_in

_IMAGES = ("img_name", "image_name", "image_path")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    keys = {"answer": row.get("answer")}
    return asked_in(
        row, images_in(row, _IMAGES), text_in(row, ["question"]), keys, text_field="question"
    )


def _slice(name: str, meaning: str, *aliases: str) -> Field:
    return Field(name, meaning, aliases=aliases, is_kept=True)


MEDICAL = RowFamily(
    name="open medical questions",
    published="SLAKE, VQA-RAD, MIMIC-CXR-VQA, GEMeX",
    known_by=(_IMAGES, ("question",), ("answer",)),
    fields=(
        Field("img_name", "a path under the image root, or a list of them", aliases=_IMAGES[1:]),
        Field("question", "the question; options that it lists make it a choice. A row with a field"
              " `options` is of the family question and options"),
        Field("answer", "yes or no, a number, a text; of a list of several all are asked for"),
        _slice("answer_type", "OPEN or CLOSED: sorts rows, and says nothing of how one is asked"),
        _slice("modality", "CT, MRI, X-Ray, ..: the example's, where it is one of the eight"),
        _slice("content_type", "what is asked for", "semantic_type", "base_type"),
        _slice("location", "the organ or region", "image_organ"),
        _slice("q_lang", "the question's language; yes and no are known in English"),
        _slice("split", "the official part; of phrase_type, test where it begins with test_",
               "phrase_type"),
        _slice("subject_id", "the patient, for --disjoint patient and the audit"),
    ),
    read=_read,
    gives_way_to=("problem", "option columns", "question and options"),
)  # fmt: skip
