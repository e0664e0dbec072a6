"""A short free text: one line, right when it is equal to an accepted one but for its writing."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rewards.forms.cue import behind_cue
from rewards.forms.f1 import f1
from rewards.forms.markup import holds_markup
from rewards.forms.normal_text import normalised
from rewards.letters import WHITE_SPACE
from rewards.visible import is_visible

# An answer is short: tags around a paragraph that holds the right words somewhere are none.
MOST_WORDS, MOST_CHARACTERS = 40, 300
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z])")
_AROUND = WHITE_SPACE + "*_`\"'\u201c\u201d"


class Text:
    """A few words."""

    name = "text"
    kind = "text"
    lettered = False
    asked_for = "a short answer"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the text without white space at its ends if it is one short line, else None.

        One that shows nothing, such as a no-break space, is none.

        >>> text = Text()
        >>> text.committed(" left lung "), text.committed("left lung" + 40 * " left")
        ('left lung', None)
        """
        text = text.strip(WHITE_SPACE)
        is_short = len(text) <= MOST_CHARACTERS and len(text.split()) <= MOST_WORDS
        is_plain = is_short and len(text.splitlines()) == 1 and not holds_markup(text)
        return text if is_plain and is_visible(text) else None

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the sentence behind the last "answer is", else a line: the first or the last.

        Quotation marks and Markdown's marks around it are left out.

        >>> Text().forgiving("It is big. So the answer is **heart**. Or not?", first=False)
        'heart'
        """
        answer = behind_cue(text)
        lines = [_bare(line) for line in (text if answer is None else answer).splitlines()]
        lines = list(filter(None, lines))
        is_first = first or answer is not None
        return self.committed(lines[0 if is_first else -1]) if lines else None

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is one of the accepted answers, as `normalised` writes them."""
        return normalised(choice) in _keys(example.answer, *example.accepted)

    def likeness(self, choice: str, example: Any) -> float:
        """Return the F1 of its words and an accepted answer's, of the one that is most alike.

        Source: SQuAD, arXiv:1606.05250, section 6.1; its words are those of `normalised`.
        """
        words = Counter(normalised(choice).split())
        keys = _keys(example.answer, *example.accepted)
        return max(f1(words, Counter(key.split())) for key in keys)

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer can be right, or None."""
        for key in (example.answer, *example.accepted):
            if self.committed(key) is None:
                return (
                    f"{key!r} is no short answer: one line of at most {MOST_WORDS} words and"
                    f" {MOST_CHARACTERS} characters, without tags"
                )
        return None

    def written(self, example: Any) -> str:
        """Return the first of the accepted answers."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses a free text at a known rate."""
        return None


@lru_cache(maxsize=4096)  # every completion of a group is compared with the same
def _keys(*accepted: str) -> frozenset[str]:
    return frozenset(map(normalised, accepted))


def _bare(line: str) -> str:
    """Return a line's first sentence without the marks around it."""
    end = _SENTENCE_END.search(line)
    line = line.strip(_AROUND) if end is None else line[: end.start()].strip(_AROUND)
    return line.removesuffix(".").strip(_AROUND)
