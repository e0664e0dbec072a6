"""The problem family: question and options in one text, the key beside it.

Med-R1's splits of OmniMedVQA (arXiv:2503.13939) hold ``image, problem, solution``: the options
stand inside the problem, the letter inside ``<answer>`` tags. MedVLM-R1's file (arXiv:2502.19634)
has the bare letter, and question, options and the answer's text apart as well. R1-V, open-r1,
EasyR1 and QoQ-Med ask open questions in the same form.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from data.options import same_option
from data.reading.families.choices import choice, is_letter
from data.reading.families.family import Field, RowFamily
from data.reading.families.option_lists import Options, options_in
from data.reading.families.pictures import images_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty, text_in
from data.reading.inline import OptionsError, split_options, without_options
from data.reading.keys import Key, key_of
from data.reading.placeholders import without_placeholders

_IMAGES = ("image", "images")
_KEYS = ("solution", "answer")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    images = images_in(row, _IMAGES)
    problem = without_placeholders(text_in(row, ["problem"]), len(images))
    try:
        question, listed = split_options(problem)
    except OptionsError as error:
        if is_empty(row.get("options")):
            return _open(row, problem, images, error)
        question, listed = problem, ()
    options = Options(listed, lettered=True)
    if not is_empty(row.get("options")):
        options = _agreed(options_in(row, ["options"]), listed, row)
    if not is_empty(row.get("question")):
        question = _without_options(text_in(row, ["question"]), options.texts)
    return choice(row, question.strip(), options, _KEYS, images)


def _agreed(options: Options, listed: Sequence[str], row: dict[str, Any]) -> Options:
    """Return the options of the row's own field; what the problem lists must be the same."""
    if listed and list(map(same_option, listed)) != list(map(same_option, options.texts)):
        raise RowError(
            row["options"],
            f"(options) are {list(options.texts)}, and those in the problem {list(listed)}: keep"
            " the right ones",
        )
    return Options(options.texts, options.lettered or bool(listed))


def _without_options(question: str, options: Sequence[str]) -> str:
    try:
        return without_options(question, options)
    except ValueError as error:
        raise RowError(question, f"(question) {error}") from error


def _open(
    row: dict[str, Any], problem: str, images: tuple[Any, ...], no_options: OptionsError
) -> Row:
    """Return what a row without options says: its key decides what is asked for."""
    if no_options.is_list:
        raise RowError(problem, f"(problem) {no_options}") from no_options
    keys: dict[str, Key] = {}
    for name in _KEYS:
        if is_empty(row.get(name)) and (keys or name != _KEYS[-1]):
            continue
        if is_letter(row.get(name)):
            reason = f"(problem) {no_options}; ({name}) is a letter"
            raise RowError(problem, reason) from no_options
        try:
            keys[name] = key_of(row.get(name), row)
        except ValueError as error:
            raise RowError(row.get(name), f"({name}) {error}") from error
    name, *others = keys
    if others and keys[name] != keys[others[0]]:
        raise RowError(
            [row[one] for one in keys], f"({', '.join(keys)}) say two things: keep the right one"
        )
    question = problem if is_empty(row.get("question")) else text_in(row, ["question"])
    return Row(images=images, question=question.strip(), answer_field=name, **asdict(keys[name]))


PROBLEM = RowFamily(
    name="problem",
    published="Med-R1, MedVLM-R1, R1-V, open-r1, EasyR1, QoQ-Med",
    known_by=(("problem",), _KEYS),
    fields=(
        Field("image", "a path or a list of them, or the images themselves (below); absent, null or"
              " an empty list: a question without an image", aliases=("images",)),
        Field("problem", "the question, and its options if `options` has none: `A)CT, B)MRI`,"
              " `(A) CT (B) MRI`, `A. CT`, `A: CT`, on one line or on several, also behind"
              " `Options:`"),
        Field("solution", "the right option's letter, its text or both, bare or inside `<answer>`;"
              " without options yes or no, a number, a text, or a list of labels. Where both names"
              " are there, they must say the same", aliases=("answer",)),
        Field("options", "the options, as in the next family but one; those that the problem lists"
              " must be the same"),
        Field("question", "the question alone; asked in place of the problem"),
    ),
    read=_read,
)  # fmt: skip
