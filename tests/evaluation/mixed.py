"""Eight made-up questions of all forms, and answers to them whose numbers are counted by hand.

row        key                        answer        read   right  forgiving  image
letter-0   A of four                  A             A      yes    yes        a
letter-1   B of two                   A             A      no     no         a
yes-0      yes                        YES           yes    yes    yes        b
yes-1      no                         It is no.     -      no     yes        c
text-0     left lung, or left side    Left lung     text   yes    yes        d
text-1     heart                      liver         text   no     no         none
number-0   3, 0.5 either way          3.4           3.4    yes    yes        e
number-1   10                         no idea       -      no     no         none
"""

from pathlib import Path
from typing import Any

from data.examples import VQAExample
from evaluation.answers.prediction import Prediction, judge


def question(name: str, form: str, answer: str, image: str = "", **more: Any) -> VQAExample:
    """Return a question of a form; without an image it is a text-only row."""
    options = {"letter": ("CT", "MRI", "X-Ray", "Ultrasound"), "yes_no": ("Yes", "No")}
    fields: dict[str, Any] = {
        "images": (Path(f"{image}.png"),) if image else (),
        "question": f"What does {name} show?",
        "options": options.get(form, ()),
        "modality": "CT" if image < "c" else "MRI",
    }
    return VQAExample(name, answer=answer, form=form, **{**fields, **more})


QUESTIONS = [
    question("letter-0", "letter", "A", "a"),
    question("letter-1", "letter", "B", "a", options=("CT", "MRI")),
    question("yes-0", "yes_no", "A", "b", fields={"answer_type": "CLOSED"}),
    question("yes-1", "yes_no", "B", "c", fields={"answer_type": "CLOSED"}),
    question("text-0", "text", "left lung", "d", accepted=("left side",),
             fields={"answer_type": "OPEN"}),
    question("text-1", "text", "heart", fields={"answer_type": "OPEN"}),
    question("number-0", "number", "3", "e", absolute_tolerance=0.5),
    question("number-1", "number", "10"),
]  # fmt: skip
ANSWERS = ("A", "A", "YES", "It is no.", "Left lung", "liver", "3.4", "no idea")


def answered(answers: tuple[str, ...] = ANSWERS, **how: Any) -> list[Prediction]:
    """Return these answers to the questions, each in a tag of its own, as an evaluation has them.

    Args:
        answers: one per question; an empty one leaves the tag away.
        how: what else `judge` takes, such as the control.
    """
    return [
        judge(
            example,
            f"<answer>{text}</answer>" if text else "nothing",
            **{"mode": "no_think", "completion_tokens": 5, "truncated": False, **how},
        )
        for example, text in zip(QUESTIONS, answers, strict=True)
    ]
