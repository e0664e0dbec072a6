"""One question, answered and shown: what the model writes and, of letters, how sure it is."""

import sys
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from textwrap import indent
from typing import TYPE_CHECKING

from data.examples import VQAExample
from data.images import load_image
from data.reading.placeholders import placeholder_problem, without_placeholders
from data.turns import TurnBuilder
from evaluation.answers.prediction import Prediction, is_measured
from evaluation.asking.asked_model import asked_model, chosen_device, chosen_policy
from evaluation.asking.built_in import say_same_names
from evaluation.asking.settings import describe
from evaluation.configs import AskConfig
from evaluation.report.summary_text import wrapped
from process.shown import shown_line
from process.tables.numbers import percent
from rewards.forms import FORMS
from rewards.forms.yes_no import OPTIONS

if TYPE_CHECKING:  # imports torch, for which no mistake on the command line should wait
    from models.policy import Policy

_BAR_WIDTH = 30
_OPTION_WIDTH = 44


def ask_command(config: AskConfig) -> None:
    """Do what `evaluate.py ask` is asked to do: print the answer to one question.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    say_same_names([config.model], ())
    images = [Path(image) for image in config.image]
    example = asked_example(images, config.question, config.options, config.form, config.system)
    model = asked_model(config.model, config.model, config)
    model.tell_warnings()
    settings = model.settings
    for image in images:
        load_image(image, settings.image_size)  # one that is broken does not wait for the weights
    policy = chosen_policy(config.model, chosen_device(config.device), config.dtype)
    prediction = ask(
        policy,
        settings.turn_builder,
        example,
        mode=settings.mode,
        max_completion_tokens=settings.max_completion_tokens,
    )
    asked = describe(config.model, settings, model.directory)
    print(f"{asked}\n\n{answer_text(prediction, bar=_bar())}")


def ask(
    policy: "Policy",
    turn_builder: TurnBuilder,
    example: VQAExample,
    *,
    mode: str,
    max_completion_tokens: int,
) -> Prediction:
    """Return the policy's greedy answer, with the letters' probabilities where there are letters.

    Of an example whose key nobody knows the prediction's answer, correct and lenient_correct mean
    nothing.

    Raises:
        ValueError: a special token in the text, an image that cannot be read, a prompt that is too
            long.
    """
    from evaluation.asking.answerer import answer_all
    from evaluation.asking.encoding import encode_checked

    encode_checked(
        policy, example, turn_builder, max_completion_tokens
    )  # raises, as `answer_all` not
    (prediction,) = answer_all(
        policy,
        [example],
        turn_builder,
        mode=mode,
        max_completion_tokens=max_completion_tokens,
        progress=False,
        with_letters=FORMS[example.form].lettered,
    )
    return prediction


# Nobody says what is right: what stands there instead, by kind of answer.
_NO_KEY = {"choice": "A", "text": "?", "number": "0"}


def asked_example(
    images: Sequence[Path],
    question: str,
    options: Sequence[str] = (),
    form: str | None = None,
    system: str = "",
) -> VQAExample:
    """Return the question as an example without a key.

    Args:
        images: any number of them.
        question: in words; marks that other trainers put in an image's place are taken out.
        options: of a lettered choice, two to as many as there are letters.
        form: how it is answered; None: by a letter where there are options, else by a text.
        system: a system turn; "": none.

    Raises:
        ValueError: options and form do not go together, an empty question, a file that is not
            there.
    """
    form = form or ("letter" if options else "text")
    if FORMS[form].lettered and not 2 <= len(options) <= len(ascii_uppercase):
        raise ValueError(
            f"--options holds {len(options)}: give 2 to {len(ascii_uppercase)}, each in quotes,"
            " such as --options CT MRI 'Chest X-ray'"
        )
    if options and not FORMS[form].lettered:
        raise ValueError(
            f"--form {form} asks for {FORMS[form].asked_for}, not for one of several --options:"
            " leave one of the two flags out"
        )
    missing = [image.as_posix() for image in images if not image.is_file()]
    if missing:
        raise ValueError(f"--image {' '.join(missing)}: no such file, check the path")
    if not question.strip():
        raise ValueError("--question is empty: ask something")
    question = without_placeholders(question, len(images))
    if not question:
        raise ValueError("--question holds nothing but a mark for the image: ask something")
    for name, text in (("--question", question), *(("--options", text) for text in options)):
        if problem := placeholder_problem(text):
            raise ValueError(f"{name} {text!r} {problem}")
    kind = FORMS[form].kind
    if kind == "choice" and not options:
        options = OPTIONS  # of the one choice that is asked in words
    return VQAExample(
        *("question", tuple(images), question, tuple(options), _NO_KEY[kind]),
        form=form,
        system=system,
    )


def answer_text(prediction: Prediction, *, bar: str = "█") -> str:
    """Return the answer as a person would read it: question, letters with bars, completion."""
    shown = f"{', '.join(prediction.images)}: " if prediction.images else ""
    lines = [*wrapped(shown + prediction.question), ""]
    if FORMS[prediction.form].lettered:
        lines += [*_letter_lines(prediction, bar), ""]
    if not is_measured(prediction.letter_mass):
        lines += [f"(hardly measured: a letter is written there with probability"
                  f" {prediction.letter_mass:.1%})", ""]  # fmt: skip
    completion = prediction.completion.strip() or "(nothing)"
    lines += ["the model wrote:", indent("\n".join(wrapped(completion)), "  ")]
    if prediction.truncated:
        lines.append("  (cut off: raise --max-completion-tokens)")
    return "\n".join([*lines, "", f"choice: {_choice(prediction)}"])


def _letter_lines(prediction: Prediction, bar: str) -> list[str]:
    """Return one line per option: a mark at the choice, the option, its probability as a bar."""
    probabilities = prediction.letter_probabilities
    labels = [
        shown_line(f"{letter}) {option}")
        for letter, option in zip(ascii_uppercase, prediction.options, strict=False)
    ]
    shown = [label if len(label) <= _OPTION_WIDTH else label[:41] + "..." for label in labels]
    width = max(map(len, shown))
    lines = []
    for letter, label in zip(ascii_uppercase, shown, strict=False):
        line = f"{'>' if letter == prediction.choice else ' '} {label.ljust(width)}"
        if probabilities is not None:
            share = probabilities[letter]
            line += f"  {percent(share):>5} %  {bar * round(_BAR_WIDTH * share)}"
        lines.append(line.rstrip())
    if probabilities is None:
        lines.append("  (no <answer> in the completion, so the letters have no probabilities)")
    return lines


def _choice(prediction: Prediction) -> str:
    """Return the answer in words, and what is wrong with its form, if anything is."""
    form, choice = FORMS[prediction.form], prediction.choice or prediction.lenient_choice
    if choice is None:
        what = "names no letter" if form.lettered else f"does not give {form.asked_for}"
        return f"none, the completion {what}"
    text = choice
    if prediction.options:
        option = prediction.options[ascii_uppercase.index(choice)]
        text = f"{choice}) {option}" if form.lettered else option
    text = shown_line(text)
    if prediction.choice is None:
        what = "letter" if form.lettered else "answer"
        return f"{text} (as a forgiving reader would take it; it commits to no {what})"
    return text if prediction.well_formed else f"{text} (not well-formed: scored as wrong)"


def _bar() -> str:
    """Return what bars are made of, where it can be written."""
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"
