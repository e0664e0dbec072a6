"""Which letters of a text are meant as an option's: "a tumor" and "vitamin A" mean none."""

import re
from collections.abc import Iterator

from rewards.letters import LETTER_ALONE
from rewards.named import BEFORE, BEHIND, WORD_BEHIND, Named, is_denied

_OPTION = re.compile(r"\b(?:answer|option|choice|letter)s?[\s*_\"'“(\[]{1,4}\Z", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:answer|option|choice|letter)s?(?:\s(?:is|was|be|(?:would|should|must|will) be))?"
    r"[^\w,;.!?]{0,6}\Z",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"(\w+)(\.?)[^\S\n]*[*_\"'“]*\Z")
_SMALL_BEHIND = re.compile(r"\.[^\S\n]+([a-z]\w+)")
_AND = re.compile(r"\W{0,4}(?:\b(?:and|or|nor|vs)\b\W{1,4}){0,2}", re.IGNORECASE)

# A letter behind another word is part of a name, "vitamin A", unless that word is one of these ..
_LEADS = frozenset(
    [
        *("is", "was", "be", "are", "s", "it", "say", "said", "choose", "chose", "chosen"),
        *("select", "selected", "pick", "picked", "answer", "answers", "therefore", "thus", "so"),
        *("hence", "then", "probably", "likely", "definitely", "certainly", "clearly", "maybe"),
        *("perhaps", "possibly", "with", "as", "only", "just", "either", "neither", "both", "or"),
        *("and", "nor", "not", "than", "versus", "vs", "between", "means", "equals", "correct"),
        *("believe", "think", "guess", "favour", "favours", "favor", "favors", "suggests"),
        *("indicates",),
    ]
)
# .. and one before another word is part of a name or an article, "B cells", "a mass", unless ..
_FOLLOWS = frozenset(
    [
        *("or", "and", "nor", "but", "because", "since", "as", "is", "was", "are", "if", "due"),
        *("which", "so", "therefore", "thus", "hence", "seems", "appears", "would", "it", "the"),
        *("this", "that"),
    ]
)
_FOLLOWS_BUT_A = frozenset(
    [
        *("not", "for", "given", "based", "in", "on", "from", "at", "to", "with", "its", "there"),
        *("here", "could", "should", "can", "may", "might", "must", "only", "alone", "instead"),
        *("rather", "then", "when", "while", "where", "being", "looks", "fits", "matches"),
        *("option", "choice", "answer"),
    ]
)
_ABBREVIATED = frozenset({"vit", "dr", "st", "fig", "hep", "gr", "mr", "prof"})  # "vit. D"
_SMALL_WORDS = "ai"  # words of their own where they are not marked as a letter


def letters_meant(text: str) -> Iterator[Named]:
    """Yield the letters, A to Z, that are meant as an option's.

    That is where no other word makes a name or an article of it. In a list such as "A, B or C"
    each is what the one before it is.

    >>> [item.letter for item in letters_meant("So it is B, not (c): vitamin A. Option d fits")]
    ['B', 'C', 'D']
    >>> list(letters_meant("Hepatitis A or B? A mass of B cells. I see C-shaped T waves"))
    []
    """
    last_end, last = None, None  # of the letter before this one: its end, and what was made of it
    for match in LETTER_ALONE.finditer(text):
        start, end = match.span()
        letter = match[0].upper()
        named = None
        if (
            last_end is not None
            and start - last_end <= 12
            and _AND.fullmatch(text, last_end, start)
        ):
            if last is not None and (last.sure or match[0] not in _SMALL_WORDS):
                named = Named(letter, start, end, last.sure, last.denied)
        else:
            is_meant, sure = _reading(text, start, end)
            if is_meant and (sure or match[0] not in _SMALL_WORDS):
                denied = is_denied(text, start)
                named = Named(letter, start, end, sure, denied)
        if named is not None:
            yield named
        last_end, last = end, named


def _reading(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Return whether the letter at this place is meant as an option's, and whether it is marked."""
    before, behind = text[max(0, start - BEFORE) : start], text[end : end + BEHIND]
    noun = _is_noun_behind(text[start], behind)
    enclosed = before.endswith("(") and behind[:1] == ")" and not before[-2:-1].isalnum()
    word = _WORD_BEFORE.search(before.removesuffix("(") if enclosed else before)
    if enclosed and (word is None or word[2] or word[1].casefold() in _LEADS):
        return True, True  # not sure in "vitamin (A)"
    if _OPTION.search(before) and (text[start].isupper() or not noun):
        return True, True
    if _ANSWER.search(before) and not noun:
        return True, True
    begins = start < BEFORE and not any(map(str.isalnum, before))
    if begins and behind[:1] in (")", ":"):
        return True, True
    if noun or _is_genus(behind):
        return False, False
    if begins and behind[:1] == ".":
        return True, True
    if enclosed or word is None or (word[2] and word[1].casefold() not in _ABBREVIATED):
        return True, False
    return word[1].casefold() in _LEADS and not word[2], False


def _is_noun_behind(letter: str, behind: str) -> bool:
    """Whether the next word makes a name, or an article, of the letter."""
    match = WORD_BEHIND.match(behind)
    if match is None or (len(match[1]) == 1 and match[1].isalpha() and match[2] is None):
        return False  # nothing, or another letter: "A B"
    word = match[1].casefold()
    return word not in _FOLLOWS and (letter in "Aa" or word not in _FOLLOWS_BUT_A)


def _is_genus(behind: str) -> bool:
    """Whether the letter abbreviates what stands behind it, as in "C. difficile"."""
    match = _SMALL_BEHIND.match(behind)
    return match is not None and match[1] not in _FOLLOWS | _FOLLOWS_BUT_A
