"""Questions about left and right: which those are, and what a mirrored image makes of them.

Mirrored, the finding is on the other side, and the key is not: who sees it answers such a question
otherwise than before, which counts as wrong. So they are reported apart from all other questions,
whose answers a mirrored image should leave.

A question is about sides where its words, its options' or an open one's answer hold one of these,
in any letter case:

    left, right, and words that begin a compound with them (left-sided, rightmost, lefthand)
    the quadrants and lobes LLQ RLQ LUQ RUQ LLL RLL LUL RUL RML
    bilateral, unilateral, ipsilateral, contralateral (with -ly), laterality
    the Chinese signs for left, right and both sides

"Right" before "answer", "option", "choice", "statement", "angle" or "or wrong" is none, nor is
"left" before "out", "over", "behind", "untreated", "in place" or "in situ", nor either before
"handed", which is said of a person and of no image. "Lateral" (away from the middle), a lone L or
R, "side" and heart chambers' letters tell too little.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, NotRequired

from evaluation.answers.prediction import Prediction
from evaluation.measures.same_answer import same_answer
from evaluation.measures.summary import SliceSummary, slice_summary

_WORD = re.compile(r"[^\W_]+")
_COMPOUNDS = ("", "most", "hand", "sided", "ward", "wards")
_PAIRS = (
    *((f"left{ending}", f"right{ending}") for ending in _COMPOUNDS),
    *(("llq", "rlq"), ("luq", "ruq"), ("lll", "rll"), ("lul", "rul")),
)
_OTHER_SIDE = dict(_PAIRS) | {right: left for left, right in _PAIRS}
_BOTH = {
    *(
        f"{side}lateral{ending}"
        for side in ("bi", "uni", "ipsi", "contra")
        for ending in ("", "ly")
    ),
    *("laterality", "rml"),
}
_OF_A_HAND = ("handed", "handedness", "hander", "handers")
_NO_SIDE_BEFORE = {
    "right": {*(f"{noun}{s}" for noun in ("answer", "option", "choice", "statement", "angle")
                for s in ("", "s")), "angled", *_OF_A_HAND},
    "left": {"out", "over", "behind", "untreated", *_OF_A_HAND},
}  # fmt: skip
_NO_SIDE = {("right", "or", "wrong"), ("left", "in", "place"), ("left", "in", "situ")}
_CHINESE = ("左", "右", "双侧", "两侧")
_EXCHANGED = str.maketrans("左右", "右左")


class SideSummary(SliceSummary):
    """What is said of the rows of one kind under the mirrored image."""

    own_accuracy: float  # of the same rows with their images as they are
    changes: float  # share whose answer is another than before
    # Of questions about sides alone: rows that had named one side, the other being an answer, too;
    # and the share of them that name the other side now (None without such rows).
    swappable: NotRequired[int]
    swaps: NotRequired[float | None]


def is_about_sides(item: Prediction) -> bool:
    """Return whether a question is about left and right; the rule stands above."""
    texts = (item.question, *(item.options or (item.answer,)))
    return any(_names_side(text) for text in texts)


def other_side(text: str) -> tuple[str, ...] | None:
    """Return a text's words with left and right exchanged; None where it names no side.

    >>> other_side("The left lung, LLL")
    ('the', 'right', 'lung', 'rll')
    >>> other_side("both lungs") is None
    True
    """
    words = _words(text)
    exchanged = tuple(_OTHER_SIDE.get(word, word).translate(_EXCHANGED) for word in words)
    return None if exchanged == words else exchanged


def summarize_sides(
    plain: Sequence[Prediction], mirrored: Sequence[Prediction]
) -> dict[str, SideSummary]:
    """Return what mirrored images change: of questions about ``sides``, and of all ``others``.

    A kind without rows is left out.

    Args:
        plain: the rows as they stand in the data.
        mirrored: the answers under the control `flip`.
    """
    own = {item.id: item for item in plain}
    pairs = [(own[item.id], item) for item in mirrored]
    about = [pair for pair in pairs if is_about_sides(pair[0])]
    others = [pair for pair in pairs if not is_about_sides(pair[0])]
    found = {}
    if about:
        found["sides"] = _summary(about) | _swaps(about)
    if others:
        found["others"] = _summary(others)
    return found


def _summary(pairs: Sequence[tuple[Prediction, Prediction]]) -> Any:
    n = len(pairs)
    return {
        **slice_summary([after for _, after in pairs]),
        "own_accuracy": sum(before.correct for before, _ in pairs) / n,
        "changes": sum(not same_answer(before, after) for before, after in pairs) / n,
    }


def _swaps(pairs: Sequence[tuple[Prediction, Prediction]]) -> Any:
    swapped = []
    for before, after in pairs:
        chosen, chosen_then = _chosen(before), _chosen(after)
        other = None if chosen is None else other_side(chosen)
        offered = [_words(text) for text in before.options]
        if other is not None and (other in offered or not offered):
            swapped.append(chosen_then is not None and _words(chosen_then) == other)
    share = sum(swapped) / len(swapped) if swapped else None
    return {"swappable": len(swapped), "swaps": share}


def _chosen(item: Prediction) -> str | None:
    """Return the answer in words."""
    if item.choice is None or not item.options:
        return item.choice
    return item.options[ascii_uppercase.index(item.choice)]


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _names_side(text: str) -> bool:
    words = _words(text)
    follow = (*words[1:], "", "")
    return any(sign in text for sign in _CHINESE) or any(
        word in _BOTH or (word in _OTHER_SIDE and not _is_no_side(word, follow[i : i + 2]))
        for i, word in enumerate(words)
    )


def _is_no_side(word: str, following: Sequence[str]) -> bool:
    in_a_phrase = (word, *following) in _NO_SIDE
    return in_a_phrase or following[0] in _NO_SIDE_BEFORE.get(word, ())
