"""What evaluate.py's commands are asked to do: one frozen config each, checked on construction.

What all of them have in common is in evaluation/asking/shared_flags.py; --help groups the flags as
evaluation/command_lines.py says. Nothing here imports torch.
"""

from dataclasses import dataclass

from evaluation.answers.controls import check_control
from evaluation.asking.shared_flags import (
    MODEL,
    TESTS,
    MachineFlags,
    ScoringFlags,
    check_least,
)
from evaluation.export.evaluators import check_evaluators
from evaluation.measures.thought_changes import check_changes
from grpo.settings.command_line import CHECK_DATA
from process.flags import REQUIRED, flag_of, setting
from rewards.forms import FORMS

BY = (
    "fields of the rows, as their file names them (phrase_type q_lang ..), whose values' accuracies"
    " are told apart, too; answer_type is, wherever rows have it"
)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(ScoringFlags):
    """One checkpoint on one set of questions; without both, the embedded ones."""

    model: str | None = setting(None, MODEL, "DIR")
    json: tuple[str, ...] = setting((), TESTS, "FILE", nargs="+")
    seed: int = setting(0, "of --limit's sample, of borrowed images, of orders, of --thoughts")
    shuffle_within: str | None = setting(
        None, "which rows a shuffled image may come from (default: modality)"
    )
    permute_options: int | None = setting(
        None,
        "ask with the options in COUNT orders, the rows' own among them; rows whose options name"
        " each other (Both A and B) have one order and are left out of this part",
        "COUNT",
    )
    by: tuple[str, ...] = setting((), BY, "FIELD", nargs="+")
    text_prior: tuple[str, ...] = setting(
        (),
        "train files, or 'phantoms': what priors fitted on their text reach without an image",
        "FILE",
        nargs="+",
    )
    thoughts: tuple[str, ...] = setting(
        (),
        "also read the letters' probabilities behind another thought: removed (none), swapped (of a"
        " sampled completion that chose another letter), borrowed (of another question's answer);"
        " think mode",
        "NAME",
        nargs="+",
    )
    check_data: bool = setting(False, CHECK_DATA, nargs=0)
    thought_samples: int | None = setting(
        None, "completions sampled per question for --thoughts swapped (default: 4)", "COUNT"
    )
    output_dir: str | None = setting(
        None,
        "where summary.json and predictions.jsonl go, both or neither; must be new or empty"
        " (default: runs/<date>-<time>-<model>-evaluation). Until then answers are kept in"
        " DIR.unfinished: an interrupted evaluation goes on with the same command and this flag",
        "DIR",
    )

    export: tuple[str, ...] = setting(
        (),
        "also write the answers as result files of other evaluators, beside predictions.jsonl"
        " (docs/export.md); of an evaluation that is finished: evaluate.py export",
        nargs="+",
    )

    def __post_init__(self) -> None:
        self._refuse_half_an_evaluation()
        self._refuse_idle_flags()
        check_changes(self.thoughts)
        check_evaluators(self.export)
        check_least(self, permute_options=2, thought_samples=2)
        super().__post_init__()
        for name in self.single_controls:
            check_control(name, self.strata)

    @property
    def checkpoint(self) -> str:
        """The model that is asked."""
        return "tiny" if self.model is None else self.model

    @property
    def sources(self) -> tuple[str, ...]:
        """The test files."""
        return self.json or ("phantoms",)

    @property
    def parts_read(self) -> tuple[str, ...]:
        """The questions, and what a text prior is fitted on."""
        return ("eval", "train") if self.text_prior else ("eval",)

    @property
    def strata(self) -> str:
        """What a shuffled image has in common with the row that gets it."""
        return "modality" if self.shuffle_within is None else self.shuffle_within

    def _refuse_half_an_evaluation(self) -> None:
        if self.model is not None and not self.json:
            raise ValueError(
                f"--model {self.model} without --json: add the test file (with --image-root), or"
                " 'phantoms' for the embedded data"
            )
        if self.json and self.model is None:
            raise ValueError(
                f"--json {' '.join(self.json)} without --model: add a checkpoint's directory, a"
                " Qwen2-VL hub id, or 'tiny' for the embedded model"
            )

    def _refuse_idle_flags(self) -> None:
        for name, value, needed, meant in (
            ("shuffle_within", "shuffled", "controls", "a shuffled control"),
            ("thought_samples", "swapped", "thoughts", "swapped thoughts"),
        ):
            if getattr(self, name) is not None and value not in getattr(self, needed):
                raise ValueError(
                    f"{flag_of(name)} {getattr(self, name)} does nothing without {meant}: add"
                    f" {flag_of(needed)} {value}"
                )


@dataclass(frozen=True, kw_only=True)
class AskConfig(MachineFlags):
    """One question, about an image or several or none."""

    model: str = setting(REQUIRED, MODEL, "DIR")
    image: tuple[str, ...] = setting(
        (),
        "BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP; several are shown in this order"
        " (default: nothing is shown)",
        "FILE",
        nargs="+",
    )
    question: str = setting(REQUIRED, "in quotes", "TEXT")
    options: tuple[str, ...] = setting(
        (),
        "the answers to choose from, each in quotes; they get the letters A, B, .. (default: none,"
        " the question is open)",
        "TEXT",
        nargs="+",
    )
    form: str | None = setting(
        None,
        "what is asked for (default: letter with --options, else text)",
    )
    system: str = setting("", "a system turn before the question, in quotes (default: none)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"unknown form {self.form!r}: use one of {', '.join(FORMS)}")


@dataclass(frozen=True, kw_only=True)
class MatrixConfig(ScoringFlags):
    """Every checkpoint on every test file."""

    models: tuple[str, ...] = setting(
        REQUIRED,
        "the modality or question type that a checkpoint was trained on, and the checkpoint; any"
        " other name (base=tiny) gets a row, and counts in neither mean",
        "NAME=DIR",
        nargs="+",
    )
    json: tuple[str, ...] = setting(REQUIRED, TESTS, "FILE", nargs="+")
    limit: int | None = setting(
        None,
        "a seeded sample of N questions of each file, spread over modality, question type and data"
        " set in proportion (default: all)",
    )
    seed: int = setting(0, "of --limit's sample, of borrowed images")
    by: tuple[str, ...] = setting(
        (),
        "fields of the rows, as their file names them (phrase_type q_lang ..), for each of whose"
        " values the matrix is shown once more, of the rows that have it",
        "FIELD",
        nargs="+",
    )
    output_dir: str = setting(
        REQUIRED, "where matrix.json and cells/ go: new, empty, or a matrix to go on with", "DIR"
    )


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two finished evaluations."""

    first: str = setting(REQUIRED, "a directory that evaluate.py wrote", "FIRST_DIR",
                         positional=True)  # fmt: skip
    second: str = setting(REQUIRED, "another, of the same test file", "SECOND_DIR",
                          positional=True)  # fmt: skip
    by: tuple[str, ...] = setting((), BY, "FIELD", nargs="+")
    output: str | None = setting(None, "also write the numbers there, as JSON", "FILE")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Finished evaluations, and the evaluators in whose files they are written."""

    evaluations: tuple[str, ...] = setting(
        REQUIRED,
        "directories that evaluate.py wrote, such as the cells of a matrix",
        "DIR",
        nargs="+",
        positional=True,
    )
    to: tuple[str, ...] = setting(REQUIRED, "the evaluators", nargs="+")

    def __post_init__(self) -> None:
        check_evaluators(self.to)
