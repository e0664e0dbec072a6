"""What the model is asked to do."""

from dataclasses import dataclass

from grpo.settings.choices import Method
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What the model is asked to do."""

    method: Method = setting("grpo", "grpo, or sft: the supervised baseline on the same data")
    mode: str = setting("think", "which tags a completion writes, in which order; sft: no_think")
    prompt_template: str = setting(
        "", "text file used as the user's turn, with {question} and {options} once each"
    )
    shuffle_options: bool = setting(
        False,
        "shuffle each question's options anew in every epoch; options that name each other, such as"
        " 'Both A and B', stay in their order",
    )
