"""Score a checkpoint on medical image questions, or ask it one.

    python evaluate.py                                    the embedded model on held-out phantoms
    python evaluate.py --model DIR --json FILE --image-root DIR
    python evaluate.py --controls blank shuffled --permute-options 4 --text-prior phantoms
    python evaluate.py ask --model DIR --image FILE --question TEXT --options TEXT TEXT ..
    python evaluate.py matrix --models NAME=DIR NAME=DIR .. --json FILE FILE .. --output-dir DIR
    python evaluate.py compare EVALUATION_DIR EVALUATION_DIR
    python evaluate.py export EVALUATION_DIR --to medevalkit

`score_command` says what an evaluation is made of, in the order in which it is made. The other
commands are functions of evaluation/: ask, matrix, compare, export. Settings:
evaluation/configs.py.
"""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.reading.bad_rows_file import showing_bad_rows
from evaluation.answers.finished import default_directory
from evaluation.answers.unfinished import unfinished_folder
from evaluation.ask import ask_command
from evaluation.asking.asked_model import chosen_policy
from evaluation.command_lines import (
    ask_parser,
    compare_parser,
    export_parser,
    matrix_parser,
    score_parser,
)
from evaluation.compare import compare_command
from evaluation.configs import AskConfig, CompareConfig, ExportConfig, MatrixConfig, ScoreConfig
from evaluation.data_check.check import check_asked_data
from evaluation.export_command import export_command
from evaluation.matrix_command import matrix_command
from evaluation.report.write import report_finished
from evaluation.score import Score
from process.called import command_line
from process.command import exit_status_of, shared_command
from process.flag_parser import FlagParser
from process.flags import config_from
from process.places import check_new_directory
from process.ranks import first_alone, first_owns, joined, world
from process.signals import saying_kept


def score_command(config: ScoreConfig) -> None:
    """Score one checkpoint on one set of questions.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    if config.check_data:
        check_asked_data(config)
        return
    with joined() as here:
        output = Path(_new_directory(config))
        with first_owns(unfinished_folder(output), output, temporary=True):
            # another process may have been at its end
            here.by_the_first("looking again", lambda: check_new_directory(output))
            score = Score.prepare(config, output)  # all that can fail before weights are loaded
            with saying_kept(score.scoring.evaluation.kept):
                print(score.description())
                with here.together("loading the model"):
                    policy = chosen_policy(config.checkpoint, score.device, config.dtype)
                asked = score.ask(policy)
                with here.together("writing the evaluation"):
                    if asked is not None:
                        score.write(asked)
                        report_finished(output, config.image_root)


@first_alone("naming the result's place")
def _new_directory(config: ScoreConfig) -> str:
    given, fresh = config.output_dir, default_directory(config.checkpoint)
    output = fresh if given is None else Path(given)
    if config.export and (output / "summary.json").is_file():
        again = command_line("evaluate", "export", str(output), "--to", *config.export)
        raise ValueError(f"{output} is finished, nothing is asked again: to export it, {again}")
    check_new_directory(output)
    return str(output)


class Subcommand(NamedTuple):
    """What is done by one name on the command line."""

    parser: Callable[[], FlagParser]
    config: type
    run: Callable[[Any], None]
    kept: str = ""  # what is said of work that was broken off
    lower: str = "lower --batch-size or --image-size"  # where a memory does not suffice
    shares_work: bool = True  # among the processes that torchrun starts


SCORE = Subcommand(score_parser, ScoreConfig, score_command)
SUBCOMMANDS = {
    "ask": Subcommand(
        ask_parser, AskConfig, ask_command, lower="lower --image-size", shares_work=False
    ),
    "matrix": Subcommand(
        matrix_parser,
        MatrixConfig,
        matrix_command,
        kept="what is answered stays, the same command goes on",
    ),
    "compare": Subcommand(compare_parser, CompareConfig, compare_command, shares_work=False),
    "export": Subcommand(export_parser, ExportConfig, export_command, shares_work=False),
}


@shared_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    chosen, flags = _chosen(list(sys.argv[1:] if argv is None else argv))
    given = vars(chosen.parser().parse_args(flags))
    return exit_status_of(
        lambda: _run(chosen, given),
        kept=chosen.kept,
        lower=chosen.lower,
    )


def _run(chosen: Subcommand, given: Mapping[str, Any]) -> None:
    if world().size > 1 and not chosen.shares_work:
        raise ValueError("this subcommand works in one process: start it without torchrun")
    config: Any = config_from(chosen.config, given)
    with showing_bad_rows(getattr(config, "show_bad_rows", None)):
        chosen.run(config)


def _chosen(argv: list[str]) -> tuple[Subcommand, list[str]]:
    """Return what the command line asks for, and its flags."""
    if not argv or argv[0].startswith("-"):
        return SCORE, argv
    if argv[0] not in SUBCOMMANDS:
        score_parser().error(
            f"unknown subcommand {argv[0]!r}: use ask, matrix, compare or export, or flags alone"
        )
    return SUBCOMMANDS[argv[0]], argv[1:]


if __name__ == "__main__":
    sys.exit(main())
