"""An answer's text in one surface form, and whether two answers may both be right."""

import re
from functools import lru_cache

# Words that do not tell answers apart, and spellings of one word. "Chest" and "Lung" are both right
# of a chest picture.
_EMPTY = frozenset(
    [
        *("a", "an", "the", "this", "that", "it", "s", "there", "is", "are", "be", "was"),
        *("of", "in", "on", "for", "to", "and", "with", "image", "imaging", "picture"),
        *("condition", "infection", "region", "appear", "appearing", "appearance"),
        *("represent", "show", "display"),
    ]
)
_SAME = {
    "tumour": "tumor",
    "oedema": "edema",
    "haemorrhage": "hemorrhage",
    "colour": "color",
    "thorax": "lung",
    "chest": "lung",
    "healthy": "normal",
    "operative": "surgical",
    "naevus": "nevus",
    "nevi": "nevus",
}
_NEGATIONS = frozenset({"no", "not", "non", "without", "negative"})
_NORMAL = re.compile(
    r"(?:no|without(?: any)?) (?:\w+ )?(?:abnormalit\w+|anomal\w+|findings?)\b"
    r"|no (?:apparent|specific) abnormalities"
)
_YES_NO = re.compile(r"\s*(?:yes|no)\s*(?:[.,;:!]|$)", re.IGNORECASE)
_ROMAN = re.compile(r"[IVX]+[abc]?")
_LONGEST_ACRONYM = 5  # COVID; beyond it, capitals are shouted


def surface(text: str) -> str:
    """Return the text with single spaces, no final period, and one letter case.

    The first letter is a capital, other words are in lower case except acronyms and grades.

    >>> surface("  Basal Cell  Carcinoma. "), surface("it's NORMAL"), surface("x_ray.")
    ('Basal cell carcinoma', "It's normal", 'X ray')
    >>> surface("Diabetic Macular Edema (DME)"), surface("COVID-19 Positive, Stage IIIa")
    ('Diabetic macular edema (DME)', 'COVID-19 positive, stage IIIa')
    """
    text = " ".join(text.replace("_", " ").split()).rstrip(". ")
    text = re.sub(r"\w+", lambda match: _one_case(match[0]), text)
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=1 << 16)
def words_of_answer(text: str) -> frozenset[str]:
    """Return the words that tell an answer from others: case, form, order, plural are gone.

    >>> sorted(words_of_answer("The Lungs.")) == sorted(words_of_answer("chest"))
    True
    >>> sorted(words_of_answer("Diabetic Macular Edema (DME)"))
    ['diabetic', 'edema', 'macular']
    """
    folded = re.sub(r"\([A-Z][A-Za-z&-]{0,6}\)", " ", text).casefold().replace("covid-19", "covid")
    folded = _NORMAL.sub("normal", folded)
    words = [_SAME.get(word, word) for word in map(_singular, re.findall(r"\w+", folded))]
    return frozenset(word for word in words if word not in _EMPTY) or frozenset(words or [text])


def may_both_be_right(one: str, other: str) -> bool:
    """Return whether two answers say the same, or one says more of the same.

    >>> may_both_be_right("Nevus.", "melanocytic nevus"), may_both_be_right("Liver", "Spleen")
    (True, False)
    >>> may_both_be_right("Diabetic retinopathy", "No diabetic retinopathy")
    False
    """
    words, others = words_of_answer(one), words_of_answer(other)
    if words <= others or others <= words:
        return not (words ^ others) & _NEGATIONS
    return False


def is_yes_or_no(text: str) -> bool:
    """Return whether the answer is a yes or no, alone or with its sentence.

    >>> list(map(is_yes_or_no, ["Yes", "NO.", "no, it is normal", "No abnormality", "Nodule"]))
    [True, True, True, False, False]
    """
    return _YES_NO.match(text) is not None


def _one_case(word: str) -> str:
    if any(map(str.isdigit, word)) or _ROMAN.fullmatch(word):
        return word
    if word.isupper() and 1 < len(word) <= _LONGEST_ACRONYM:
        return word
    return word.lower()


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "siu" else word
