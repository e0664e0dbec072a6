"""What is equal for two short texts that give the same answer; docs/answers.md has the rules."""

import re
import unicodedata

from rewards.forms.keyboard import as_typed
from rewards.forms.number_words import in_digits

_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")  # "1,200"
_NO_ZERO = re.compile(r"(?<![\w.])\.(?=[0-9])")  # ".5"
_IN_A_WORD = re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_])")  # "Crohn's"
_SIGN = re.compile(r"[%+<>=~&$]")  # says something: "HER2+" is not "HER2"
# .. and these say something between digits: "2.5", "1:2", "3/4".
_MARK = re.compile(r"[\"'(),;!?\[\]{}*_`^|#@\\]|[.:/](?![0-9])|(?<![0-9])[.:/]")
# A hyphen joins words, but for "2-3", "-5" and "HER2-"; in "left- and right-sided" it does, too.
_HYPHEN = re.compile(
    r"(?P<kept>(?<=[0-9])-(?=[0-9])|(?<!\S)-(?=[0-9]))"
    r"|(?P<minus>(?<=\w)-(?!\S)(?!\s+(?:and|or|to)\b)|(?<=\Aa)-(?=[^\W\d]))|-"  # "A-lines"
)
# Further signs: "HER2 (-)", "HER2 -", "- 5 HU"; a sign of its own, as no keyboard has it.
_MINUS = re.compile(r"\(\s?-\s?\)|(?<=\w )-(?=\s*\Z)")
_FIRST_MINUS = re.compile(r"\A\s*-\s+(?=\.?[0-9])")
_SPELLED = {"&": "and", "percent": "%", "\u2212": "-"}

# "a" may be a name, as in "hepatitis A virus": it is an article at the beginning, or behind these.
_BEFORE_AN_ARTICLE = frozenset(
    [
        *("above", "along", "and", "are", "as", "at", "behind", "below", "beside", "between", "by"),
        *("for", "from", "has", "have", "in", "inside", "into", "is", "like", "near", "not", "of"),
        *("on", "or", "outside", "over", "shows", "through", "to", "under", "was", "were", "with"),
        *("within", "without"),
    ]
)
_KEEPS_ITS_S = ("ss", "us", "is")
_ENDS_IN_US = ("uses", "use")  # viruses, and causes with its singular
_TAKES_ES = ("sses", "shes", "ches", "xes", "zzes")


def normalised(text: str) -> str:
    """Return what is equal for texts that give the same answer, in a time linear in them.

    Letter case, white space, typographic forms, punctuation, hyphens between words, articles, the
    plural's s and numbers in words or digits make no difference. Signs that say something (+, %,
    <), digits and the order of words do.

    >>> [normalised(text) for text in ("The left lungs.", "HER2+", "twenty-one", "Type A", "")]
    ['left lung', 'her2 +', '21', 'type a', '']
    >>> normalised("Two X-rays of a patient with Crohn's disease")
    '2 x ray of patient with crohn disease'
    """
    typed = as_typed(text).casefold()
    words = _without_articles(in_digits(_words(typed)))
    return " ".join(map(_singular, words)) or " ".join(typed.split())


def _words(text: str) -> list[str]:
    """Return the words, numbers and signs of a folded text, punctuation left out."""
    if not text.isascii():
        text = "".join(map(_seen, text))
    text = _MINUS.sub(" \u2212 ", _FIRST_MINUS.sub("-", text))
    text = _NO_ZERO.sub("0.", _THOUSANDS.sub("", text))
    text = _SIGN.sub(r" \g<0> ", _IN_A_WORD.sub("", text))
    text = _HYPHEN.sub(_hyphen, _MARK.sub(" ", text))
    return [_SPELLED.get(word, word) for word in text.split()]


def _seen(char: str) -> str:
    """Return a character by what it is: punctuation is a space, a sign stands for itself."""
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category in ("Sm", "Sc", "So"):
        return f" {char} "
    return char if category[0] in "LMN" else " "


def _hyphen(match: re.Match[str]) -> str:
    if match["kept"]:
        return "-"
    return " - " if match["minus"] else " "


def _without_articles(words: list[str]) -> list[str]:
    """Return the words without those that only lead to the next one."""
    befores = ["in", *words]  # the first word may be an article
    return [
        word
        for place, (before, word) in enumerate(zip(befores, words, strict=False), start=1)
        if place == len(words)
        or not (word in ("the", "an") or (word == "a" and before in _BEFORE_AN_ARTICLE))
    ]


def _singular(word: str) -> str:
    """Return a word without the plural's s, by its letters alone: a lens is a "len" on both sides.

    >>> [_singular(word) for word in ("lungs", "masses", "arteries", "mass", "pus", "axis", "t2s")]
    ['lung', 'mass', 'artery', 'mass', 'pus', 'axis', 't2s']
    >>> [_singular(word) for word in ("virus", "viruses", "cause", "causes", "biopsies", "pelvis")]
    ['virus', 'virus', 'caus', 'caus', 'biopsy', 'pelvis']
    """
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith(_ENDS_IN_US):
        return word.removesuffix("s").removesuffix("e")
    if not word.endswith("s"):
        return word
    if word.endswith(_KEEPS_ITS_S):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(_TAKES_ES) else word[:-1]
