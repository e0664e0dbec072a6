"""What a question asks for: its published question type, or a guess from its words and answer.

The files of the modality axis name no question type, so that it has to be guessed. Of each row
alone: the right answer names an apparatus, or a pattern below fits the question (`task_of`). Then
rows of one data set (else modality) with one right answer agree on what most of them say
(`tasks_of`), since one thing is asked in hundreds of wordings. What remains is `unknown`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from data.examples import QUESTION_TYPES, UNKNOWN, VQAExample
from data.splits.answers import words_of_answer

ANATOMY, DISEASE, GRADING, MODALITY, OTHER = QUESTION_TYPES

# One wording per task: it says what is asked for and nothing else.
NEUTRAL_QUESTIONS = {
    ANATOMY: "Which anatomical structure or region does the image show?",
    DISEASE: "Which finding or diagnosis does the image show?",
    GRADING: "Which grade or degree does the finding in the image have?",
    MODALITY: "How was the image acquired?",
    OTHER: "Which attribute does the image show?",
    UNKNOWN: "Which of these does the image show?",
}

# "Which method .. was used": the means, and behind it what was done with it.
_MEANS = re.compile(
    r"(?:method|procedure|means|manner|way|technology|equipment|device|apparatus|process)\b"
)
_WAS_USED = re.compile(
    r"\b(?:used|utilized|employed|applied|obtain\w*|captur\w+|acquir\w+|produc\w+|generat\w+"
    r"|taken?)"
)
# The first that fits decides: "Which organ is abnormal?" asks for a disease. No pattern may read to
# the end of a text from many places of it: a question may be megabytes long.
_WORDINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (OTHER, re.compile(r"quality")),
    (
        MODALITY,
        re.compile(
            r"modalit|technique|(?:type|kind|form) of (?:\w+ ){0,20}imaging\b|imaging type"
            r"|imaging (?:method|procedure|technolog|system|process|equipment)"
            r"|how (?:was|is|were) (?:this|the) (?:\w+ )?(?:image|picture|photo\w*|scan)"
            r"|(?:used|utilized|employed) to (?:obtain|capture|take|acquire|produce|generate|make)"
        ),
    ),
    (
        GRADING,
        re.compile(r"benign|malignan|\bgrad(?:e|ing)\b|\bstag(?:e|ing)\b|severity|\blevel\b"),
    ),
    (
        OTHER,
        re.compile(
            r"attribute|characteristic|\bfeatures\b|feature of|\bshape|morpholog|eye axis"
            r"|oculus|(?:right|left)[ -]eye|which[ -]eye|\bstain"
        ),
    ),
    (
        DISEASE,
        re.compile(
            r"abnormal|disease|diagnos|condition|lesion|anomal|irregular|illness|patholog|cancer"
            r"|finding|disorder|infect|ailment|tumou?r|symptom|medical (?:issue|problem)|unusual"
            r"|covid|pneumon|suffer|deviat|retinopathy|glaucoma|not appear normal|malad"
        ),
    ),
    (
        ANATOMY,
        re.compile(
            r"organ\b|organs\b|structure|anatom|\bpart\b|region|\barea\b|joint|\bbone|location|body"
        ),
    ),
    (OTHER, re.compile(r"\bcells?\b|cellular|tissue|substance|mucosa")),
)
_APPARATUS = re.compile(
    r"(?:the imaging modality used for this image is )?"
    r"(?:(?:colou?r|retinal|chest|phase contrast|light|dermoscopic|fundus|medical) )*"
    r"(?:ct|mri|mr|x ray|ultrasound|sonography|dermoscopy|dermoscopic|fundus|microscopy|oct"
    r"|histopathology|mammography|optical coherence tomography|computed tomography"
    r"|magnetic resonance|photography|retinal|endoscopy)"
    r"(?: (?:ct|mri|oct|imaging|image|images|scan|photography|examination))*"
)


def tasks_of(examples: Sequence[VQAExample]) -> tuple[list[str], dict[str, int]]:
    """Return each row's task, and the rows whose task is ``named``, guessed ..., ``unknown``.

    ``by row``: the row alone says it. ``by answer``: it says nothing, or something else than most
    rows of its modality and data set with the same right answer, whose task it takes (where that
    data set has none, of its modality); of equally frequent ones the first in the alphabet.
    """
    alone = [task_of(example) for example in examples]
    counts: dict[tuple, Counter[str]] = defaultdict(Counter)
    for example, task in zip(examples, alone, strict=True):
        if task != UNKNOWN:
            for place in _same_answer(example):
                counts[place][task] += 1
    tasks, ways = [], {"named": 0, "by row": 0, "by answer": 0, UNKNOWN: 0}
    for example, task in zip(examples, alone, strict=True):
        votes = next((counts[place] for place in _same_answer(example) if place in counts), None)
        named = example.question_type != UNKNOWN
        agreed = task if named or not votes else min(votes, key=lambda t: (-votes[t], t))
        tasks.append(agreed)
        if named or agreed == UNKNOWN:
            ways["named" if named else UNKNOWN] += 1
        else:
            ways["by row" if agreed == task else "by answer"] += 1
    return tasks, ways


def task_of(example: VQAExample) -> str:
    """Return the row's question type, or the guess from this row alone, or ``unknown``."""
    if example.question_type != UNKNOWN:
        return example.question_type
    answer = re.sub(r"[^a-z0-9]+", " ", example.answer_text.casefold()).strip()
    if _APPARATUS.fullmatch(answer):
        return MODALITY
    question = " ".join(example.question.casefold().split())
    return next((task for task, pattern in _WORDINGS if _asks(question, task, pattern)), UNKNOWN)


def _asks(question: str, task: str, pattern: re.Pattern[str]) -> bool:
    means = _MEANS.search(question) if task == MODALITY else None
    was_used = means is not None and _WAS_USED.search(question, means.end()) is not None
    return was_used or pattern.search(question) is not None


def _same_answer(example: VQAExample) -> tuple[tuple, tuple]:
    """Return whose votes count: the data set's where it has any, else the modality's."""
    words = words_of_answer(example.answer_text)
    return (example.modality, example.dataset, words), (example.modality, words)
