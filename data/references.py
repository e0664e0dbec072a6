"""Options that name other options by their letter or place: "Both A and B", "All of the above".

Such an option is true only in the order it was written for: shuffled, "Both A and B" stands for two
other texts. A row that has one keeps its order wherever options are reordered (data/options.py).
In doubt an option counts as one that does: a row that keeps its order teaches nothing false.
"""

import re
from functools import lru_cache
from string import ascii_uppercase

_LISTED = "above|below|preceding|previous|foregoing|following|aforementioned|mentioned|listed|given"
_OPTION = "options?|choices?|answers?|alternatives?|statements?"
_COUNT = "all|none|both|neither|either|any|some|each|most|one|two|three|four|everything|nothing"

# An option of nothing but these words, letters and numbers says something about options. "Both
# lungs", "Hepatitis B" and "Type A and B influenza" hold a word that is not among them.
_WORDS = re.compile(
    rf"(?:{_COUNT}|{_LISTED}|{_OPTION}|and|or|nor|but|not|only|just|alone|except|of|the|than|more"
    r"|these|those|them|others?|first|second|third|fourth|last|1st|2nd|3rd|4th|combination|combined"
    r"|together|as|well|with|plus|same|at|once|is|are|correct|right|true|wrong|incorrect|false"
    r"|apply|applicable|possible|likely|equally|present|seen|visible|shown|no|there|in|[,;&+/])"
)
_POINTS_ALONE = frozenset({"both", "all", "neither", "either"})
_POINTS = re.compile(rf"(?:{_OPTION}|these|those|them)")
_ORDINALS = frozenset({"first", "second", "third", "fourth", "last", "1st", "2nd", "3rd", "4th"})
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii")

# These tell it whatever else the option says: "None of the above findings", "Option B, if treated".
_IN_ANY_TEXT = re.compile(
    rf"\b(?i:(?:{_COUNT})\s(?:of\s)?(?:(?:the|these|those)\s)?(?:(?:{_OPTION})\s)?(?:{_LISTED}))\b"
    r"|\b(?i:the|as|same as|of|of the)\s(?i:above)\b(?!\s(?i:the|a|an)\b)"
    rf"|\b(?i:{_OPTION})\s?[(\[]?(?:[A-Z]|[1-9]|[IV]+)\b"
    r"|\b(?i:both|neither|either|only)\s[(\[]?[A-Z][)\]]?\s?(?:(?i:and|or|nor)|[,&+/])\s?[(\[]?[A-Z]\b"
)
_CAPITALS = re.compile(r"[A-Z]{3,}")


@lru_cache(maxsize=1 << 16)  # published options recur
def names_options(text: str, num_options: int) -> bool:
    """Return whether an option's text is about other options of its row, or about their places.

    Args:
        text: the option.
        num_options: of its row: "X and Y" names none of four.

    >>> [names_options(text, 4) for text in ("Both A and B", "none of the above", "Only C")]
    [True, True, True]
    >>> [names_options(text, 4) for text in ("Hepatitis B", "Both lungs", "A tumor", "A", "None")]
    [False, False, False, False, False]
    """
    text = " ".join(text.split())
    if _IN_ANY_TEXT.search(text):
        return True
    letters = ascii_uppercase[:num_options]
    if _CAPITALS.fullmatch(text.strip(" .")) and _ascends(text.strip(" ."), letters):
        return True
    tokens = re.findall(r"[a-z0-9]+|[^\W_]+|[,;&+/<>=%-]", text.casefold())
    named = [token for token in tokens if len(token) == 1 and token.upper() in letters]
    places = [token for token in tokens if token in map(str, range(1, num_options + 1))]
    romans = set(_ROMAN[:num_options]).difference(named)
    places += [token for token in tokens if token in romans]
    ordinals = [token for token in tokens if token in _ORDINALS]
    no_words = {*named, *places}
    words = [token for token in tokens if token not in no_words]
    if len(tokens) == 3 and len(named) == 2 and tokens[1] not in named:
        return True  # "A to C", "A-C", "A und B"
    if not tokens or not all(_WORDS.fullmatch(token) for token in words):
        return False
    return (
        bool(named and len(tokens) > 1)  # a blood group A is no option
        or len(places) > 1
        or len(ordinals) > 1
        or bool(ordinals and {"two", "three"} & set(tokens))  # "the last two"
        or any(token in _POINTS_ALONE or _POINTS.fullmatch(token) for token in words)
    )


def _ascends(capitals: str, letters: str) -> bool:
    """Whether it is a list such as ABD: letters of options, each once, in their order."""
    return "".join(letter for letter in letters if letter in capitals) == capitals
