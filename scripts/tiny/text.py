"""What the embedded model is taught to write: descriptions, thoughts, completions of all modes."""

from collections.abc import Iterator, Sequence
from string import ascii_uppercase

import numpy as np

from data.examples import QUESTION_TYPES
from data.phantoms.attributes import ANATOMIES, FINDINGS, GRADES, MODALITY_NAMES, SITES, Attributes
from data.phantoms.wordings import WORDINGS
from data.prompts import prompt_template, render_prompt
from rewards.modes import MODES

DESCRIBE = ("Describe this image.", "What does this image show?")

# One thought names one option. Every wording is short: a completion is about 16 tokens.
THOUGHTS = {
    "Anatomy Identification": ("The image shows {}.", "This looks like {}."),
    "Disease Diagnosis": ("The pattern suggests {}.", "The lesion looks like {}."),
    "Lesion Grading": ("The size suggests {}.", "The lesion looks {}."),
    "Modality Recognition": ("This looks like {}.", "The image suggests {}."),
    "Other Biological Attributes": ("The lesion lies {}.", "The site looks {}."),
}


OPTION_NAMES = (*MODALITY_NAMES.values(), *FINDINGS, *GRADES, *SITES, *sum(ANATOMIES.values(), ()))


def description(attributes: Attributes) -> str:
    """Return a sentence that names all five attributes.

    >>> description(Attributes("CT", 0, 1, 3, 0))
    'CT of head with severe cyst at left.'
    """
    return (
        f"{attributes.modality_name} of {attributes.anatomy_name} with {attributes.grade_name}"
        f" {attributes.finding_name} at {attributes.site_name}."
    )


def completion(mode: str, thought: str, answer: str) -> str:
    """Return the completion that ``mode`` asks for.

    >>> completion("think_after", "It is CT.", "B")
    '<answer>B</answer><think>It is CT.</think>'
    """
    contents = {"think": thought, "answer": answer}
    return "".join(f"<{tag}>{contents[tag]}</{tag}>" for tag in MODES[mode].tags)


def draw_thought(question_type: str, option: str, rng: np.random.Generator) -> str:
    """Return a thought that names ``option``."""
    wordings = THOUGHTS[question_type]
    return wordings[rng.integers(len(wordings))].format(option)


def user_text(mode: str, question: str, options: Sequence[str]) -> str:
    """Return the user's turn exactly as training and evaluation will render it."""
    return render_prompt(prompt_template(mode), question, options)


def form_text(mode: str, question: str, options: Sequence[str], form: str) -> str:
    """Return the user's turn of a question of any form."""
    return render_prompt(prompt_template(mode), question, options, form)


def corpus() -> Iterator[str]:
    """Yield the text that the tokenizer is trained on: every word the phantoms need, often."""
    letters = ascii_uppercase[:4]
    for mode in MODES:
        for kind in QUESTION_TYPES:
            for question in WORDINGS[kind]:
                yield f"system\nYou are a helpful assistant.\nuser\n{question}\nassistant\n"
                for start in range(len(OPTION_NAMES)):
                    options = [
                        OPTION_NAMES[(start + step) % len(OPTION_NAMES)] for step in range(4)
                    ]
                    yield user_text(mode, question, options)
                    for thought in THOUGHTS[kind]:
                        letter = letters[start % 4]
                        yield completion(mode, thought.format(OPTION_NAMES[start]), letter)
    for question in DESCRIBE:
        for modality, anatomies in ANATOMIES.items():
            for anatomy in range(len(anatomies)):
                for value in range(4):
                    facts = Attributes(modality, anatomy, value, value, value)
                    yield f"{question} {description(facts)}"
