"""Does a thought name the option that its completion chooses? Read off the text, without a model.

Naming is not arguing for: "not a CT scan" names CT. What a thought does to the answer is measured
by evaluation/measures/thought_changes.py.

    chosen      names the chosen option and no other
    several     names the chosen option and another
    other       names another option, not the chosen one
    none        names no option
    empty       holds no letter and no digit
    missing     the completion has no thought: not one pair of think tags
    no_choice   there is a thought, but the completion commits to no answer

Of an open question the chosen option is the answer itself, a text or a number, and there is no
other. Questions of yes or no are left out: a thought says "no" of much else.
"""

from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from data.options import is_lettered
from evaluation.answers.prediction import Prediction
from evaluation.measures.summary import accuracy_on
from rewards import parse_completion
from rewards.letters import option_letters
from rewards.meant_letters import letters_meant
from rewards.modes import get_mode
from rewards.naming import longest, named_texts, outside, words_of

CLASSES = ("chosen", "several", "other", "none", "empty", "missing", "no_choice")


def summarize_thoughts(
    predictions: Sequence[Prediction], mode: str, count_tokens: Callable[[str], int]
) -> dict[str, Any]:
    """Return how the thoughts of one evaluation relate to its answers.

        mode         the evaluation's
        applicable   False where the mode writes no thought, or all rows are yes or no; then
                     ``reason``, and nothing else
        n            predictions, but for
        yes_or_no    rows that are answered so, where there are any
        tokens       mean length of the thoughts that are there, None where none is
        classes      class -> ``share`` of the predictions, and `accuracy_on` of those in it
                     (n alone where there are none)

    Args:
        predictions: the plain ones, images and options as they are.
        mode: which tags their completions had to write.
        count_tokens: number of tokens of a text.

    Raises:
        ValueError: no predictions, or an unknown mode.
    """
    if not get_mode(mode).thinks:
        return {"mode": mode, "applicable": False, "reason": f"{mode} writes no thought"}
    if not predictions:
        raise ValueError("no predictions to read thoughts of: the evaluation set is empty")
    asked = [item for item in predictions if item.kind != "choice" or is_lettered(item)]
    if not asked:
        return {"mode": mode, "applicable": False, "reason": "all questions are yes or no"}
    members: dict[str, list[Prediction]] = {name: [] for name in CLASSES}
    lengths = []
    for item in asked:
        thought = parse_completion(item.completion, mode, item.options, item.form).rationale
        members[_class_of(item, thought)].append(item)
        if thought is not None:
            lengths.append(count_tokens(thought))
    others = len(predictions) - len(asked)
    return {
        "mode": mode,
        "applicable": True,
        "n": len(asked),
        **({"yes_or_no": others} if others else {}),
        "tokens": sum(lengths) / len(lengths) if lengths else None,
        "classes": {
            name: {"share": len(rows) / len(asked), **_numbers(rows)}
            for name, rows in members.items()
        },
    }


def _class_of(item: Prediction, thought: str | None) -> str:
    if is_lettered(item) or item.choice is None:
        return thought_class(thought, item.options, item.choice)
    if thought is None or not words_of(thought):
        return "missing" if thought is None else "empty"
    return "chosen" if any(named_texts(thought, [item.choice])) else "none"


def thought_class(thought: str | None, options: Sequence[str], choice: str | None) -> str:
    """Return which of `CLASSES` a thought belongs to.

    Args:
        thought: what stands between the think tags; None where there is not one pair of them.
        options: as they were shown.
        choice: the letter that the completion commits to.

    >>> thought_class("a bright ring, so CT", ["CT", "MRI"], "A")
    'chosen'
    >>> thought_class("CT shows bone better than MRI", ["CT", "MRI"], "A")
    'several'
    """
    if thought is None:
        return "missing"
    if not words_of(thought):
        return "empty"
    if choice is None:
        return "no_choice"
    named = named_letters(thought, options)
    # options that differ in punctuation alone cannot be told apart in a thought
    chosen_words = words_of(options[ascii_uppercase.index(choice)])
    same = {
        letter
        for letter, text in zip(ascii_uppercase, options, strict=False)
        if letter == choice or (chosen_words and words_of(text) == chosen_words)
    }
    if not named:
        return "none"
    if named.isdisjoint(same):
        return "other"
    return "several" if named - same else "chosen"


def named_letters(thought: str, options: Sequence[str]) -> set[str]:
    """Return the letters of the options that a thought names, by their text or by their letter.

    Read as the forgiving reader does (rewards/naming.py), but named is also what is denied: "not B"
    names B. A text counts as a whole phrase, letter case, white space and punctuation ignored; a
    phrase that lies inside another option's, longer one does not count: "left lung" is no "lung". A
    letter counts as ``(b)``, ``option b`` or a capital standing alone, unless it is part of an
    option's text or of another name ("hepatitis B").

    >>> sorted(named_letters("The left LUNG.", ["lung", "Left lung", "heart"]))
    ['B']
    >>> sorted(named_letters("A round mass: option b", ["cyst", "tumour"]))
    ['B']
    """
    texts = list(longest(named_texts(thought, options)))
    letters = outside(letters_meant(thought), texts)
    return {item.letter for item in (*texts, *letters)} & set(option_letters(options))


def _numbers(rows: Sequence[Prediction]) -> Mapping[str, Any]:
    if not rows:
        return {"n": 0}
    return accuracy_on(rows, [item.correct for item in rows])
