"""Token F1: how much of the right text a well-formed completion gives."""

from typing import Any

from rewards.forms import FORMS
from rewards.parse_once import Parse
from rewards.parsing import parse_completion


def token_f1(completion: str, example: Any, mode: str, parse: Parse = parse_completion) -> float:
    """Return the F1 of a well-formed completion's words and the key's; 0.0 if it is malformed.

    Of a free text, as SQuAD has it (`rewards.forms.text`); of a letter, yes or no, or a number it
    is what accuracy is: part of these is nothing.

    Raises:
        ValueError: unknown mode.

    >>> from types import SimpleNamespace
    >>> lung = SimpleNamespace(form="text", options=(), answer="left upper lobe", accepted=())
    >>> token_f1("<answer>upper lobe</answer>", lung, "no_think")
    0.8
    """
    parsed = parse(completion, mode, example.options, example.form)
    if not parsed.well_formed or parsed.choice is None:
        return 0.0
    return FORMS[example.form].likeness(parsed.choice, example)
