"""Which options a text names, by their words or by their letter: a forgiving reading, for reports.

No reward is read this way. A letter in prose counts only where it is clearly one: "a tumor",
"vitamin A", "hepatitis B" and "B cells" name no option.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_uppercase

from rewards.letters import committed_letter, option_letters
from rewards.meant_letters import letters_meant
from rewards.named import BEHIND, WORD_BEHIND, Named, is_denied
from rewards.occurrences import places_of

_WORD = re.compile(r"\d++(?:\.\d++)++|\w++")  # "2.5 cm" holds no "5 cm"
_BARE = re.compile(r"\W*+([A-Za-z])\W*+")
# An option "B or C" is not what "it is B or C" says. Two letters are small ones in other clothes.
_HEDGE = re.compile(r"[A-Za-z\u017f\u212a]\W++[Oo][Rr]\W++[A-Za-z\u017f\u212a]")

# Words of any sentence: an option "No" is meant by "No", "it is no", not by "no sign of".
_COMMON = frozenset({"no", "none", "not", "all", "both", "neither", "either", "other"})


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
                denied = is_denied(text, start)
                yield Named(letter, start, end, denied=denied)


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
        or WORD_BEHIND.match(text[end : end + BEHIND]) is None
    )
