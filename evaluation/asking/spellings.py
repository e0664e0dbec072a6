"""All the ways in which a model can write an option's letter after ``<answer>``.

Nothing here is a list of spellings. What a letter may look like comes from the parser: every ASCII
character is tried on it, as a letter and as what stands before one, and what it accepts is kept
(white space, an opening bracket, either case). How that can be written comes from the tokenizer: a
text is many token sequences, and one token may hold the end of the tag and the letter (Qwen2-VL has
``>B``), or white space and the letter.

A way ends with the token that holds the letter. So no way begins another one, they are disjoint
events, and their probabilities add up to at most 1. What comes after the letter is not asked: ``B
or C`` is a way to write B, unless the token with the letter already spells something that no answer
goes on with (``Both``).

Ways of more than MAX_OPENING characters before the letter are left out, so that they are few. What
the model puts there is missing from their sum, which evaluation/asking/option_letters.py reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from string import ascii_uppercase

from rewards import parse_completion

ANSWER_TAG, _END_TAG = "<answer>", "</answer>"

# Two white-space characters, or one and a bracket. Qwen2-VL's tokenizer spells these in 70 ways,
# which 46 rows of at most 3 tokens run through; a third character would make it 527 rows.
MAX_OPENING = 2

_ASCII = tuple(map(chr, range(128)))

Path = tuple[int, ...]  # token ids


@dataclass(frozen=True)
class Spellings:
    """Where the ways branch, and what each letter's ways are."""

    branches: tuple[Path, ...]  # what may be written before the letter's token; () is one of them
    ways: dict[str, tuple[Path, ...]]  # letter -> the sequences that end with the letter's token


def spellings(texts: Sequence[str], last: int) -> Spellings:
    """Return the ways to go on from a text that ends with ``<answer>``, for all letters A to Z.

    Args:
        texts: what each token of the vocabulary stands for, by id.
        last: the last token of that text. The ways begin in its place, with it or with a token that
            holds its text and more.

    >>> texts = ["<answer>", ">", "B", " B", ">b", " ", "Both", "B)", "</answer>"]
    >>> found = spellings(texts, last=1)
    >>> found.branches  # nothing; the tag; and one or two spaces
    ((), (1,), (1, 5), (1, 5, 5))
    >>> sorted(found.ways["B"])
    [(1, 2), (1, 3), (1, 5, 2), (1, 5, 3), (1, 5, 5, 2), (1, 5, 5, 7), (1, 5, 7), (1, 7), (4,)]
    """
    merged = _pieces(texts, texts[last])
    pieces = _pieces(texts, "")
    branches: list[Path] = [()]
    ways: dict[str, list[Path]] = {letter: [] for letter in ascii_uppercase}

    def branch(path: Path, written: str, following: Sequence[_Piece]) -> None:
        for piece in following:
            opening, longer = written + piece.opening, (*path, piece.token)
            if opening not in openings():
                continue
            if piece.form:
                if _may_go_on(opening, piece.form, piece.rest):
                    ways[forms()[piece.form]].append(longer)
            else:
                branches.append(longer)
                branch(longer, opening, pieces)

    branch((), "", merged)
    branches.append((last,))
    branch((last,), "", pieces)
    return Spellings(tuple(branches), {letter: tuple(paths) for letter, paths in ways.items()})


@lru_cache
def forms() -> dict[str, str]:
    """Return the characters that the parser takes for a letter, and which letter each one is."""
    return {form: letter for form in _ASCII if (letter := _reads(form)) is not None}


@lru_cache
def openings() -> frozenset[str]:
    """Return what the parser lets stand before a letter, up to MAX_OPENING characters.

    >>> " (" in openings(), "\\n\\n" in openings(), "[" in openings()
    (True, True, False)
    """
    before, after = _neighbours()
    texts = ("".join(some) for n in range(MAX_OPENING + 1) for some in product(before, repeat=n))
    return frozenset(
        text for text in texts if any(_reads(f"{text}A{closing}") for closing in ("", *after))
    )


@lru_cache
def _neighbours() -> tuple[str, str]:
    """Return the characters that may stand next to a letter: before it, and after it."""
    around = ("", *_ASCII)
    pairs = [pair for pair in product(around, around) if _reads("A".join(pair)) == "A"]
    before, after = ("".join(dict.fromkeys(some)) for some in zip(*pairs, strict=True))
    return before, after


@dataclass(frozen=True)
class _Piece:
    """A token whose text is part of an opening, or the rest of one, a letter and what follows."""

    token: int
    opening: str
    form: str  # one character; "": the token is part of an opening
    rest: str


def _pieces(texts: Sequence[str], before: str) -> list[_Piece]:
    """Return the tokens of more than ``before`` that begin with it and could lead to a letter."""
    signs, closings = _neighbours()
    start, follows = len(before), ("", *closings, _END_TAG[0])
    pieces = []
    for token, text in enumerate(texts):
        if len(text) == start or not text.startswith(before):
            continue
        after = text[start:].lstrip(signs)
        opening = text[start : len(text) - len(after)]
        is_letter = after[:1] in forms() and after[1:2] in follows
        if len(opening) <= MAX_OPENING and (not after or is_letter):
            pieces.append(_Piece(token, opening, after[:1], after[1:]))
    return pieces


@lru_cache(maxsize=4096)
def _may_go_on(opening: str, form: str, rest: str) -> bool:
    """Return whether some answer that the parser accepts begins with these."""
    inside, tag, after = rest.partition(_END_TAG[0])
    if tag:
        return _END_TAG.startswith(tag + after) and _names(form, f"{opening}{form}{inside}")
    _, closings = _neighbours()
    return any(_names(form, f"{opening}{form}{inside}{closing}") for closing in ("", *closings))


def _names(form: str, answer: str) -> bool:
    return _reads(answer) == forms()[form]


def _reads(answer: str) -> str | None:
    """Return the letter that the parser reads in an answer tag of this text."""
    return parse_completion(f"{ANSWER_TAG}{answer}{_END_TAG}", "no_think").choice
