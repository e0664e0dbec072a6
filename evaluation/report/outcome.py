"""What a finished training run prints: what became better, some answers, and what to do next."""

from collections.abc import Sequence

from evaluation.answers.prediction import Prediction
from evaluation.report.summary_text import change_table, sample_completions
from evaluation.report.write import report_finished
from grpo.run.best import Best
from grpo.run.session import FinishedRun
from grpo.settings.config import GRPOConfig
from process.called import command_line
from process.page import fitted
from process.ranks import first_alone


@first_alone("printing the outcome")
def print_outcome(
    finished: FinishedRun, config: GRPOConfig, predictions: Sequence[Prediction]
) -> None:
    """Print a run's outcome and write its report.html.

    Args:
        finished: the run.
        config: its settings.
        predictions: of the last evaluation, in this process.
    """
    if finished.before and finished.after:
        table = change_table(finished.before, finished.after)
        print("\nheld-out questions, greedy:", table, sep="\n")
    if predictions:
        shown = "five of them" if len(predictions) > 5 else "all of them"
        print(f"\n{shown}:", fitted(sample_completions(predictions)), sep="\n\n")
    if finished.best is not None:
        print(f"\n{_best_line(finished.best, finished)}")
    parts = ("metrics.jsonl", "rollouts.jsonl", "eval/", "checkpoints/")
    written = ", ".join(name for name in parts if (finished.directory / name).exists())
    print(f"\nrun directory: {finished.directory} ({written})")
    print(f"next: {_evaluation_command(finished, config)}")
    report_finished(finished.directory, config.image_root)


def _best_line(best: Best, finished: FinishedRun) -> str:
    line = f"best held-out accuracy: {best.accuracy:.1%} at step {best.step}"
    place = finished.directory / "checkpoints" / f"step-{best.step:06d}"
    return f"{line}, {place if place.is_dir() else 'the start model itself'}"


def _evaluation_command(finished: FinishedRun, config: GRPOConfig) -> str:
    names = config.eval_json or config.train_json
    flags = ["--model", str(finished.checkpoint), "--json", *names]
    if config.image_root:
        flags += ["--image-root", config.image_root]
    if config.only:
        flags += ["--only", *config.only]
    if config.skip_bad_rows:
        flags.append("--skip-bad-rows")
    return command_line("evaluate", *flags)
