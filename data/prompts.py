"""The user's turn: question, options, and how to answer. Used by training and evaluation alike.

Every mode asks for exactly the tags that rewards/parsing.py accepts, because both read
rewards/modes.py.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

from data.examples import VQAExample
from data.reading.placeholders import placeholder_problem
from process.regular import read_text
from rewards.forms import FORMS
from rewards.modes import MODES, get_mode

# {question}, {options} and {answer_form} are filled in by `render_prompt`; nothing else in braces
# is special.
TEMPLATES: dict[str, str] = {
    mode.name: f"{{question}}\n{{options}}\n{mode.sentence}" for mode in MODES.values()
}

# `<|image_pad|>` in a text would become the token itself and break the count of image tokens.
_FIELD = re.compile(r"\{(?:question|options|answer_form)\}")

SPECIAL_TOKEN = re.compile(r"<\|\w+\|>")


def format_options(options: Sequence[str]) -> str:
    r"""Return one option a line, each behind its letter.

    >>> format_options(["MRI", "CT"])
    'A) MRI\nB) CT'
    """
    lines = (f"{letter}) {text}" for letter, text in zip(ascii_uppercase, options, strict=False))
    return "\n".join(lines)


def render_prompt(
    template: str, question: str, options: Sequence[str], form: str = "letter"
) -> str:
    """Return the user's turn; question and options are inserted as they are, braces included.

    Where no lettered options are shown, a line that holds nothing else is left out.
    """
    shown = format_options(options) if FORMS[form].lettered else ""
    asked_for = FORMS[form].asked_for
    fields = {"{question}": question, "{options}": shown, "{answer_form}": asked_for}
    if not shown:
        template = re.sub(r"^\{options\}(?:\n|\Z)", "", template, flags=re.MULTILINE)
    return _FIELD.sub(lambda match: fields[match[0]], template)


def supervised_target(example: VQAExample) -> str:
    """Return what the supervised baseline writes: the bare answer, in the no_think mode's form."""
    return f"<answer>{FORMS[example.form].written(example)}</answer>"


def well_formed_answers(example: VQAExample) -> tuple[str, ...]:
    """Return a choice's completions in the no_think mode, one per option, in their order.

    Raises:
        ValueError: an open question, whose answers cannot be listed.

    >>> well_formed_answers(VQAExample("a-0", (), "Is it?", ("Yes", "No"), "A", form="yes_no"))
    ('<answer>Yes</answer>', '<answer>No</answer>')
    """
    if example.kind != "choice":
        raise ValueError(f"{example.id}: an open question has no list of answers")
    letters = ascii_uppercase[: len(example.options)]
    return tuple(supervised_target(replace(example, answer=letter)) for letter in letters)


def prompt_template(mode: str, file: str | Path | None = None) -> str:
    """Return the template of ``mode``, or the checked text of the user's own ``file``.

    The newline that editors put at the end of a file is not part of the template (one is taken off;
    who wants the turn to end in one writes two). The rest is used as it is.

    Raises:
        ValueError: unknown mode; a file that cannot be read as UTF-8; one that does not hold
            ``{question}`` and ``{options}`` exactly once each, or holds another field or a special
            token.
    """
    get_mode(mode)
    if file is None:
        return TEMPLATES[mode]
    try:
        text = read_text(file, "utf-8-sig").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"prompt template {file} cannot be read ({error}): pass a UTF-8 text file"
        ) from error
    return check_template(text, str(file))


def check_template(text: str, name: str) -> str:
    """Return ``text`` if it is a template; see `prompt_template` for the errors."""
    problems = []
    for field in ("{question}", "{options}"):
        count = text.count(field)
        if count != 1:
            problems.append(f"{field} stands {count} times, it must stand once")
    problems += [
        f"{field!r} is not a field: only {{question}}, {{options}} and {{answer_form}} are"
        for field in _fields(text)
    ]
    problems += [
        f"{token} would be read as a special token: leave chat markers to the model's own template"
        for token in SPECIAL_TOKEN.findall(text)
    ]
    if problem := placeholder_problem(text):
        problems.append(problem)
    if problems:
        raise ValueError(f"prompt template {name}: " + "; ".join(problems))
    return text


def _fields(text: str) -> list[str]:
    found = re.findall(r"\{[A-Za-z_][A-Za-z0-9_]*\}", text)
    return [field for field in found if _FIELD.fullmatch(field) is None]
