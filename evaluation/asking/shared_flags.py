"""What the commands that ask a model have in common: their flags, explained and checked once.

A config is checked on construction, without torch: the first mistake is told before it is imported.
None stands for what is not given, where a checkpoint or the data has a say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.answers.borrowed import SHUFFLE_WITHIN
from evaluation.answers.controls import CONTROLS, check_control
from evaluation.answers.redrawn import BLUR_EXAMPLE, single_names
from grpo.settings.checks import unknown_device
from grpo.settings.choices import CHOICES
from grpo.settings.command_line import SHOW_BAD_ROWS
from process.conditions import ONLY_HELP, check_conditions
from process.flags import Group, flag_of, setting
from rewards.forms import FORMS
from rewards.modes import get_mode

FLAG_CHOICES = {
    "mode": CHOICES["mode"],
    "dtype": CHOICES["dtype"],
    "form": tuple(FORMS),
    "shuffle_within": tuple(SHUFFLE_WITHIN),
}
# The fields that name files and folders.
FLAG_PATHS = (
    *("model", "json", "image_root", "image", "prompt_template", "text_prior", "output_dir"),
    "show_bad_rows",
    *("first", "second", "output", "evaluations"),
)
MODEL = "a checkpoint's directory or hub id of a Qwen2-VL or Qwen2.5-VL; 'tiny' is the embedded one"
TESTS = (
    "test files in a published format, folders of them; 'phantoms', 'phantoms:CT', ..: the embedded"
    " held-out questions, all or one slice"
)
ROWS = ("json", "image_root", "only", "skip_bad_rows", "show_bad_rows", "limit", "seed")
HOW_IT_IS_ASKED = Group(
    "how it is asked",
    ("mode", "image_size", "prompt_template", "max_completion_tokens"),
    "What is not given comes from the checkpoint's groupwise.json, else it is train.py's"
    " default (for 'tiny': configs/phantoms.toml). A flag that differs from groupwise.json is"
    " warned about: a model asked in another way than it was trained answers worse.",
)


@dataclass(frozen=True, kw_only=True)
class AskingFlags:
    """What is said about how a model is asked; None: what it was trained with, else the default."""

    mode: str | None = setting(None, "which tags a completion writes, in which order")
    image_size: int | None = setting(
        None,
        "images become SIZE x SIZE pixels, then whole visual tokens (384: 392, 14 x 14 tokens);"
        " 0: the processor's own min/max pixels",
        "SIZE",
    )
    prompt_template: str | None = setting(
        None, "text file used as the user's turn, with {question} and {options} once each", "FILE"
    )
    max_completion_tokens: int | None = setting(
        None, "longest completion; longer ones are truncated, and counted"
    )

    def __post_init__(self) -> None:
        check_asking(self.given())

    def given(self) -> dict[str, Any]:
        """Return those that are given, by name."""
        values = {name: getattr(self, name) for name in HOW_IT_IS_ASKED.names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class MachineFlags(AskingFlags):
    """Those of every command that asks a model."""

    device: str = setting("auto", "cpu, cuda, cuda:1, .. (default: auto, cuda where there is one)",
                          "NAME")  # fmt: skip
    dtype: str = setting(
        "auto", "of the weights (default: auto, bfloat16 on cuda and float32 on cpu)"
    )

    def __post_init__(self) -> None:
        check_machine(self.device, self.dtype)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class RowsFlags(MachineFlags):
    """Those of every command that reads rows of data."""

    image_root: str | None = setting(None, "folder that the rows' image paths start from", "DIR")
    only: tuple[str, ...] = setting(
        (),
        ONLY_HELP,
        "FIELD=VALUE",
        nargs="+",
    )
    skip_bad_rows: bool = setting(
        False,
        "leave out, and count, rows that cannot be used: text, image or length (docs/rows.md)",
        nargs=0,
    )
    show_bad_rows: str | None = setting(None, SHOW_BAD_ROWS, "FILE")
    limit: int | None = setting(
        None,
        "a seeded sample of N questions, spread over modality, question type and data set in"
        " proportion (default: all)",
    )
    seed: int = setting(0, "of --limit's sample")

    @property
    def parts_read(self) -> tuple[str, ...]:
        """The parts of the data that are read: those that are asked."""
        return ("eval",)

    def __post_init__(self) -> None:
        check_conditions(self.only, self.parts_read)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ScoringFlags(RowsFlags):
    """Those of every command that counts right answers."""

    controls: tuple[str, ...] = setting(
        (),
        "also ask with another image: "
        + ", ".join(f"{name} ({control.help})" for name, control in CONTROLS.items())
        + f", {BLUR_EXAMPLE} (its own, blurred by a Gaussian of so many pixels of what the model"
        " sees: each radius is a control, with blank the curve has its limit)",
        "NAME",
        nargs="+",
    )
    batch_size: int | None = setting(
        None,
        "questions answered at once: speed and memory, not answers (default: as many as fit into"
        " half of the free memory, at most 128 on a GPU and 256 on a CPU)",
    )

    def __post_init__(self) -> None:
        check_least(self, batch_size=1, limit=1, seed=0)
        super().__post_init__()
        for name in self.single_controls:
            check_control(name)

    @property
    def single_controls(self) -> tuple[str, ...]:
        """The controls, those of several radii one by one."""
        return single_names(self.controls)


def check_machine(device: str, dtype: str) -> None:
    """Raise a ValueError for a --device or --dtype that is none anywhere: torch need not tell."""
    if problem := unknown_device("device", device):
        raise ValueError(problem)
    if dtype not in FLAG_CHOICES["dtype"]:
        raise ValueError(
            f"dtype {dtype!r} is unknown: use one of {', '.join(FLAG_CHOICES['dtype'])}"
        )


def check_asking(values: Mapping[str, Any]) -> None:
    """Raise a ValueError for an unknown mode or a size that is none, among those that are there."""
    if "mode" in values:
        get_mode(values["mode"])
    for name, least in (("image_size", 0), ("max_completion_tokens", 1)):
        if values.get(name, least) < least:
            raise ValueError(f"{flag_of(name)} {values[name]} must be at least {least}")


def check_least(config: Any, **least: int) -> None:
    """Raise a ValueError for the first setting that is given and under its least value."""
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise ValueError(f"{flag_of(name)} {value} must be at least {bound}")
