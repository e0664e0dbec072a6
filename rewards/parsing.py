"""The one parser: what a completion answers, and whether it keeps to its mode's form.

Training scores with it and evaluation counts with it, so that what is rewarded is what is reported.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.forms import FORMS, AnswerForm
from rewards.letters import WHITE_SPACE
from rewards.modes import get_mode
from rewards.visible import is_visible

# Anything that starts like one of the tags, in any case, with attributes or never closed: all of it
# must be matched so that it can be refused. The text is the policy's, so time must be linear in it:
# the quantifier is possessive (*+, it never backs up) and an attempt starts at "<" and consumes no
# other "<", hence no character is read by two attempts.
_TAG = re.compile(r"</?(think|answer)\b[^<>]*+>?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ParsedCompletion:
    """What was read out of one completion.

    Attributes:
        choice: the answer its one answer tag commits to, in its form's one way of writing: a
            choice's upper-case letter, an open question's text, a number's digits; else None. May
            stand in a completion that is otherwise malformed; then it earns nothing.
        lenient_choice: what a forgiving reader would take (rewards/forms/): what the last answer
            tag names, of a choice an option's text or the first letter; else the only answer that
            the whole text names; else None. For reports, never for rewards.
        rationale: the text of its one think tag, white space trimmed, else None.
        well_formed: exactly the mode's tags, once each, in order and lower case; nothing but white
            space outside; a thought that is not empty where the mode asks for one; and a choice.
    """

    choice: str | None
    lenient_choice: str | None
    rationale: str | None
    well_formed: bool


def parse_completion(
    text: str, mode: str, options: Sequence[str] = (), form: str = "letter"
) -> ParsedCompletion:
    """Return what ``text`` answers under ``mode``; see `ParsedCompletion` for the rules.

    Never raises on any text and takes time linear in it. With ``options`` a letter beyond them
    commits to nothing, and ``C)CT`` commits to C when CT is option C. The form is the question's
    (`VQAExample.form`).

    Raises:
        ValueError: unknown mode.
        KeyError: unknown form.

    >>> parse_completion("<think>a dark lung</think> <answer>(b)</answer>", "think")
    ParsedCompletion(choice='B', lenient_choice='B', rationale='a dark lung', well_formed=True)
    >>> parse_completion("<answer>B or C</answer>", "no_think")
    ParsedCompletion(choice=None, lenient_choice='B', rationale=None, well_formed=False)
    """
    mode_tags = get_mode(mode).tags
    tags = list(_TAG.finditer(text))
    answer, thought = _only_content(text, tags, "answer"), _only_content(text, tags, "think")
    choice = None if answer is None else FORMS[form].committed(answer, options)

    expected = [tag for name in mode_tags for tag in (f"<{name}>", f"</{name}>")]
    well_formed = (
        [tag[0] for tag in tags] == expected
        and not _outside(text, tags).strip(WHITE_SPACE)
        and ("think" not in mode_tags or (thought is not None and is_visible(thought)))
        and choice is not None
    )
    return ParsedCompletion(
        choice=choice,
        lenient_choice=_lenient_choice(text, tags, options, FORMS[form]),
        rationale=None if thought is None else thought.strip(),
        well_formed=well_formed,
    )


def _only_content(text: str, tags: list[re.Match], name: str) -> str | None:
    """Return the text between ``<name>`` and ``</name>`` if each stands once and in this order."""
    named = [tag for tag in tags if tag[1].lower() == name]
    if [tag[0] for tag in named] != [f"<{name}>", f"</{name}>"]:
        return None
    opening, closing = named
    return text[opening.end() : closing.start()]


def _outside(text: str, tags: list[re.Match]) -> str:
    """Return what stands before, between and behind pairs of tags, joined."""
    starts = [0, *(tag.end() for tag in tags[1::2])]
    ends = [*(tag.start() for tag in tags[0::2]), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _lenient_choice(
    text: str, tags: list[re.Match], options: Sequence[str], form: AnswerForm
) -> str | None:
    openings = [i for i, tag in enumerate(tags) if re.match("<answer", tag[0], re.IGNORECASE)]
    answer = None
    if openings:
        last = openings[-1]
        end = tags[last + 1].start() if last + 1 < len(tags) else len(text)
        answer = form.forgiving(text[tags[last].end() : end], options, first=True)
    return answer or form.forgiving(_TAG.sub("\n", text), options, first=False)
