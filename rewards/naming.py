"""Which options a text names, by their words or by their letter: a forgiving reading, for reports.

No reward is read this way. A letter in prose counts only where it is clearly one: "a tumor",
"vitamin A", "hepatitis B" and "B cells" name no option.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from rewards.letters import LETTER_ALONE, committed_letter, option_letters
from rewards.occurrences import places_of

_WORD = re.compile(r"\d++(?:\.\d++)++|\w++")  # "2.5 cm" holds no "5 cm"
_BARE = re.compile(r"\W*+([A-Za-z])\W*+")
# An option "B or C" is not what "it is B or C" says. Two letters are small ones in other clothes.
_HEDGE = re.compile(r"[A-Za-z\u017f\u212a]\W++[Oo][Rr]\W++[A-Za-z\u017f\u212a]")

# What stands right before and behind a letter or phrase decides; only so many characters are read,
# so that time stays linear in the text.
_BEFORE, _BEHIND = 48, 24
_DENIED = re.compile(
    r"\b(?:no|not|non|without|neither|nor|than|never|exclud(?:e|es|ed|ing)|rul(?:e|es|ed|ing) out"
    r"|isn['’]t|wasn['’]t)[\s\"'(-]{1,2}"
    r"(?:(?:evidence|signs?|features?)\sof\s)?(?:(?:an?|the|any|option|choice|letter)[\s(]{1,2}){0,2}\Z",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\b(?:answer|option|choice|letter)s?[\s*_\"'“(\[]{1,4}\Z", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:answer|option|choice|letter)s?(?:\s(?:is|was|be|(?:would|should|must|will) be))?"
    r"[^\w,;.!?]{0,6}\Z",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"(\w+)(\.?)[^\S\n]*[*_\"'“]*\Z")
_WORD_BEHIND = re.compile(r"(?:[/&]\w+)?[^\S\n]+(\w+)(-\w)?")  # "B/L effusion", "a X-ray"
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
# Words of any sentence: an option "No" is meant by "No", "it is no", not by "no sign of".
_COMMON = frozenset({"no", "none", "not", "all", "both", "neither", "either", "other"})


@dataclass(frozen=True)
class Named:
    """One place where a text names an option."""

    letter: str  # upper case
    start: int
    end: int
    sure: bool = False  # a letter that is marked as one: "(B)", "option B", "the answer is B"
    denied: bool = False  # "not B", "no evidence of X"


def forgiving_letter(text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
    """Return the letter that a forgiving reader takes ``text`` to mean, or None.

    In this order: a letter and nothing else; an option's text and nothing else; a letter marked as
    one; the only option whose text stands in it (the longest: "left lung" is no "lung"); a letter
    standing alone.

    Args:
        text: what stands in an answer tag, or a whole completion without its tags.
        options: texts to look for; letters beyond them count for nothing.
        first: take the first of several letters; else they must agree.

    >>> options = ["Left lung", "Lung", "Hepatitis B"]
    >>> [forgiving_letter(text, options, first=True) for text in
    ...  ("the LUNG.", "B) Lung", "It shows a left lung", "hepatitis B", "Vitamin A", "a mass")]
    ['B', 'B', 'A', 'C', None, None]
    """
    bare = _BARE.fullmatch(text)
    letter = committed_letter(text, options) or _whole(text, options)
    if letter is not None:
        return letter
    valid = option_letters(options)
    if bare is not None:
        return bare[1].upper() if bare[1].upper() in valid else None
    texts = list(longest(named_texts(text, options)))
    letters = [
        item
        for item in outside(letters_meant(text), texts)
        if item.letter in valid and not item.denied
    ]
    sure = [item.letter for item in letters if item.sure]
    by_text = {item.letter for item in texts if not item.denied and not _is_hedge(text, item)}
    if sure and (first or len(set(sure)) == 1):
        return sure[0]
    if len(by_text) == 1:
        return by_text.pop()
    found = [item.letter for item in letters]
    return found[0] if found and (first or len(set(found)) == 1) else None


def named_texts(text: str, options: Sequence[str]) -> Iterator[Named]:
    """Yield every place where an option's words stand in a row, option by option.

    Letter case, white space and punctuation are ignored. An option of one letter is left out.
    """
    words = list(_WORD.finditer(text))
    folded = [word[0].casefold() for word in words]
    joined = f" {' '.join(folded)} "
    leading = len(text) - len(text.lstrip())  # white space before the first word
    starts, place = [], 1  # of each word in `joined`
    for word in folded:
        starts.append(place)
        place += len(word) + 1
    for letter, option in zip(ascii_uppercase, options, strict=False):
        phrase = words_of(option)
        if not phrase or (len(phrase) == 1 and len(phrase[0]) == 1 and phrase[0].isalpha()):
            continue
        word = _WORD.findall(option)[0]
        is_common = len(phrase) == 1 and phrase[0] in _COMMON
        for at in places_of(f" {' '.join(phrase)} ", joined):
            index = bisect_right(starts, at + 1) - 1
            start, end = words[index].start(), words[index + len(phrase) - 1].end()
            if not is_common or _is_meant(text, start, end, word, leading):
                denied = _DENIED.search(text[max(0, start - _BEFORE) : start]) is not None
                yield Named(letter, start, end, denied=denied)


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
                denied = _DENIED.search(text[max(0, start - _BEFORE) : start]) is not None
                named = Named(letter, start, end, sure, denied)
        if named is not None:
            yield named
        last_end, last = end, named


def longest(found: Iterable[Named]) -> Iterator[Named]:
    """Yield those that do not lie inside a longer one, by their place."""
    reach, widest = -1, (-1, -1)
    for item in sorted(found, key=lambda item: (item.start, -item.end)):
        span = (item.start, item.end)
        if item.end > reach:
            reach, widest = item.end, span
        elif span != widest:
            continue
        yield item


def outside(letters: Iterable[Named], texts: Sequence[Named]) -> Iterator[Named]:
    """Yield the letters that are not part of an option's text ("hepatitis B").

    Args:
        letters: by their place.
        texts: by their place, none inside another, as `longest` gives them.
    """
    number = 0
    for item in letters:
        while number < len(texts) and texts[number].end < item.end:
            number += 1
        if number == len(texts) or item.start < texts[number].start:
            yield item


def words_of(text: str) -> list[str]:
    """Return a text's words without their case; punctuation is no word."""
    return [match[0].casefold() for match in _WORD.finditer(text)]


def _whole(text: str, options: Sequence[str]) -> str | None:
    """Return the letter of the option that ``text`` is, as written or but for case and marks."""
    for fold in (str.strip, _folded):
        wanted = fold(text)
        for letter, option in zip(ascii_uppercase, options, strict=False):
            if wanted and fold(option) == wanted:
                return letter
    return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?*_\"'`“”‘’")


def _is_hedge(text: str, item: Named) -> bool:
    return _HEDGE.fullmatch(text, item.start, item.end) is not None


def _is_meant(text: str, start: int, end: int, option: str, leading: int) -> bool:
    """Whether a common word stands for the option: as it is written there, or without a noun.

    Args:
        text: what is read.
        start: of the word.
        end: of the word.
        option: the option's one word.
        leading: white space before the text's first word.
    """
    written = text[start:end]
    return (
        (written in option and not written.islower())
        or start <= leading
        or _WORD_BEHIND.match(text[end : end + _BEHIND]) is None
    )


def _reading(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Return whether the letter at this place is meant as an option's, and whether it is marked."""
    before, behind = text[max(0, start - _BEFORE) : start], text[end : end + _BEHIND]
    noun = _is_noun_behind(text[start], behind)
    enclosed = before.endswith("(") and behind[:1] == ")" and not before[-2:-1].isalnum()
    word = _WORD_BEFORE.search(before.removesuffix("(") if enclosed else before)
    if enclosed and (word is None or word[2] or word[1].casefold() in _LEADS):
        return True, True  # not sure in "vitamin (A)"
    if _OPTION.search(before) and (text[start].isupper() or not noun):
        return True, True
    if _ANSWER.search(before) and not noun:
        return True, True
    begins = start < _BEFORE and not any(map(str.isalnum, before))
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
    match = _WORD_BEHIND.match(behind)
    if match is None or (len(match[1]) == 1 and match[1].isalpha() and match[2] is None):
        return False  # nothing, or another letter: "A B"
    word = match[1].casefold()
    return word not in _FOLLOWS and (letter in "Aa" or word not in _FOLLOWS_BUT_A)


def _is_genus(behind: str) -> bool:
    """Whether the letter abbreviates what stands behind it, as in "C. difficile"."""
    match = _SMALL_BEHIND.match(behind)
    return match is not None and match[1] not in _FOLLOWS | _FOLLOWS_BUT_A
