"""The command line of `python -m evaluation.curate`: what it takes, checked, and its --help."""

from dataclasses import dataclass

from evaluation.asking.shared_flags import (
    FLAG_CHOICES,
    FLAG_PATHS,
    HOW_IT_IS_ASKED,
    MODEL,
    ROWS,
    RowsFlags,
    check_least,
)
from evaluation.curate.crossfit import check_prior
from evaluation.curate.reasons import DEFAULT_DROP, check_choosing
from evaluation.curate.split import check_sources
from process.called import module_line
from process.flag_parser import FlagParser
from process.flags import REQUIRED, Group, add_flags, setting


@dataclass(frozen=True, kw_only=True)
class CurateConfig(RowsFlags):
    """Which rows of which files are sampled from which model, and which are left out."""

    model: str = setting(REQUIRED, MODEL, "DIR")
    json: tuple[str, ...] = setting(
        REQUIRED,
        "train files in a published format; 'phantoms', 'phantoms:CT', ..: the embedded ones",
        "FILE",
        nargs="+",
    )
    seed: int = setting(0, "of --limit's sample, of the completions, of the prior's folds")
    samples: int = setting(8, "completions per row and image, at temperature 1", "K")
    drop: tuple[str, ...] = setting(
        DEFAULT_DROP,
        "rows with one of these reasons are left out: always_right, always_wrong, blind (solved"
        " with the image blank), prior (the text prior has it right); none: only report",
        "REASON",
    )
    blind_share: float = setting(
        0.75, "a row is blind if at least this share of its blank samples is right", "SHARE"
    )
    prior: str = setting(
        "lookup",
        "lookup, 'question majority' or 'linear ranker', of open questions 'question majority',"
        " 'answer majority' or 'nearest question'; cross-fitted by image",
        "NAME",
    )
    group_size: int = setting(
        4,
        "of the training that is planned, for the expected share of groups without spread",
        "G",
    )
    batch_size: int = setting(64, "completions sampled at once: speed and memory, not samples", "N")
    output_dir: str = setting(
        REQUIRED,
        "where split/, curate.jsonl and summary.json go: new, empty, or a run to go on with",
        "DIR",
    )

    @property
    def parts_read(self) -> tuple[str, ...]:
        """Train files alone."""
        return ("train",)

    def __post_init__(self) -> None:
        check_choosing(self.drop, self.blind_share)
        check_prior(self.prior)
        check_sources(self.json)
        check_least(self, samples=2, group_size=2, batch_size=1, limit=1, seed=0)
        super().__post_init__()


def curate_parser() -> FlagParser:
    """Return the parser of `python -m evaluation.curate`."""
    parser = FlagParser(
        prog=module_line("evaluation.curate"),
        description="Which rows of train files are worth training on: completions are sampled for"
        " every row with its image and with the image blank, a text prior is asked too, and a"
        " filtered split is written with the reasons per row. An interrupted run goes on with the"
        " same command.",
        epilog=f"Example: {module_line('evaluation.curate')} --model Qwen/Qwen2-VL-2B-Instruct"
        " --json splits/train/CT_train.json --image-root OmniMedVQA --output-dir curated",
    )
    groups = (
        Group("model and data", ("model", *ROWS)),
        HOW_IT_IS_ASKED,
        Group("which rows are dropped", ("samples", "drop", "blind_share", "prior", "group_size")),
        Group("machine", ("device", "dtype", "batch_size")),
        Group("result", ("output_dir",)),
    )
    add_flags(parser, CurateConfig, groups, choices=FLAG_CHOICES, paths=FLAG_PATHS)
    return parser
