"""Every checkpoint on every test file: each cell an evaluation of its own, resumable.

    <output>/cells/<model>/<test>/summary.json, predictions.jsonl     written whole or not at all
    <output>/cells/<model>/<test>.unfinished/                         the answers of a cell at work
    <output>/matrix.json                                              when all cells are there

A cell may be asked under controls too; its predictions.jsonl then holds those answers as well. All
cells are looked at before the first is evaluated, so that one that does not fit stops the job
at once; what is done is skipped, so a broken-off matrix goes on with the same command, within the
cell that was at work.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.answers.identity import CellIdentity
from evaluation.answers.unfinished import unfinished_folder
from evaluation.asked_rows import AskedRows, load_tests
from evaluation.asking.asked_model import AskedModel, asked_model, chosen_device, chosen_policy
from evaluation.asking.built_in import say_same_names
from evaluation.asking.evaluation_plan import plan_passes
from evaluation.asking.progress import TimeLeft
from evaluation.asking.resumable import ResumableEvaluation
from evaluation.cells import Cell, cell_path
from evaluation.configs import MatrixConfig
from evaluation.matrix_json import control_json, described, matrix_json
from evaluation.measures.priors import Prior, summarize_priors
from evaluation.measures.slices import named_models, named_tests
from evaluation.report.matrix_text import matrix_table
from evaluation.report.write import report_finished
from evaluation.scoring import Scoring
from models.prompts.image_processor import seen_as
from process.owner import owned
from process.places import check_own_directory
from process.storage import write_json

if TYPE_CHECKING:  # imports torch, for which no mistake in flags or data should wait
    from models.policy import Policy

PriorsOf = Callable[[str], Mapping[str, Prior]]  # a model's slice -> what its train rows' text says


def matrix_command(config: MatrixConfig) -> None:
    """Do what `evaluate.py matrix` is asked to do: fill the matrix, write and print it.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    checkpoints, sources = named_models(config.models), named_tests(config.json)
    output = Path(config.output_dir)
    check_matrix_directory(output)
    with owned(output):
        _matrix_in(output, config, checkpoints, sources)


def _matrix_in(
    output: Path,
    config: MatrixConfig,
    checkpoints: Mapping[str, str],
    sources: Mapping[str, str],
) -> None:
    say_same_names(list(checkpoints.values()), config.json)
    models = [asked_model(name, checkpoint, config) for name, checkpoint in checkpoints.items()]
    tests = load_tests(
        sources,
        image_root=config.image_root,
        limit=config.limit,
        seed=config.seed,
        skip_bad_rows=config.skip_bad_rows,
        checks=[model.prompt_check for model in models],
    )
    matrix = Matrix(output, models, tests, controls=config.controls)
    for model in models:
        model.tell_warnings(f"{model.name}: ")
        if size := model.settings.image_size:
            print(f"{model.name}: images are seen as {seen_as(model.directory, size)}")
    pending, count = len(matrix.pending()), len(models) * len(tests)
    device = chosen_device(config.device)
    print(f"{count} cells, {count - pending} of them done: {output / 'cells'}", file=sys.stderr)
    matrix.fill(
        lambda checkpoint: chosen_policy(checkpoint, device, config.dtype),
        batch_size=config.batch_size,
    )
    written = matrix.write()
    print(matrix_table(written))
    for name, control in written.get("controls", {}).items():
        print(f"\nthe same under {name}\n{matrix_table(control)}")
    print("\nper cent, strict; [ ]: trained on that slice; macro: every cell weighs the same")
    print(f"written: {output / 'matrix.json'}")
    report_finished(output)


class Matrix:
    """The cells of some models on some tests below one folder."""

    def __init__(
        self,
        output: Path,
        models: Sequence[AskedModel],
        tests: Sequence[AskedRows],
        *,
        controls: Sequence[str] = (),
        priors_of: PriorsOf | None = None,
        with_letters: bool = True,
    ) -> None:
        """Name the cells; nothing is evaluated yet.

        Args:
            output: the matrix's folder.
            models: the rows.
            tests: the columns.
            controls: names of `evaluation.answers.controls.CONTROLS`, asked beside every cell.
            priors_of: a model's name -> its text priors, put into the cells' summaries.
            with_letters: also compute the option letters' probabilities, for the calibration.

        Raises:
            ValueError: a folder that holds no matrix.
        """
        check_matrix_directory(output)
        self.output, self.models, self.tests = output, list(models), tests
        self.controls, self.priors_of = tuple(controls), priors_of
        self.with_letters = with_letters

    def cell(self, model: AskedModel, test: AskedRows) -> Cell:
        """Return the place of one cell."""
        identity = CellIdentity.of(
            model.settings,
            test,
            model_checksum=model.checksum,
            controls=self.controls,
            with_letters=self.with_letters,
        )
        path = cell_path(self.output, model.name, test.name)
        return Cell(model.name, test.name, path, identity)

    def pending(self) -> list[tuple[AskedModel, AskedRows]]:
        """Return what is still to be evaluated.

        Raises:
            ValueError: a cell that is there, or was begun, is not the one that is wanted; see
                `Cell.is_done` and `ResumableEvaluation`.
        """
        pending = [
            (model, test)
            for model in self.models
            for test in self.tests
            if not self.cell(model, test).is_done()
        ]
        for model, test in pending:
            if unfinished_folder(self.cell(model, test).path).exists():
                self._scoring(model, test)
        return pending

    def fill(
        self,
        load: Callable[[str], "Policy"],
        *,
        batch_size: int | None,
        progress: TimeLeft | None = None,
        kind: str = "cell",
    ) -> None:
        """Evaluate what is missing; each checkpoint is loaded once, one at a time.

        Args:
            load: checkpoint -> policy.
            batch_size: questions answered at once; None: as many as fit, see `questions_at_once`.
            progress: counts one unit per cell; default: one for this matrix.
            kind: of those units.
        """
        pending = self.pending()
        progress = progress or TimeLeft({kind: len(pending)})
        for model in self.models:
            tests = [test for one, test in pending if one is model]
            if not tests:
                continue
            policy = load(model.checkpoint)
            for test in tests:
                with progress.unit(kind, f"{model.name} on {test.name}"):
                    self._evaluate(policy, model, test, batch_size)
            del policy  # before the next is loaded: two may not fit

    def _evaluate(
        self, policy: "Policy", model: AskedModel, test: AskedRows, batch_size: int | None
    ) -> None:
        place = self.cell(model, test).path
        with owned(unfinished_folder(place), place, temporary=True):
            scoring = self._scoring(model, test)
            batch_size = scoring.batch_size(policy, batch_size)
            plain, summary = scoring.ask(policy, batch_size)
            if self.priors_of is not None and (priors := self.priors_of(model.name)):
                summary["text_priors"] = summarize_priors(priors, test.examples, plain)
            summary["evaluation"] = scoring.about(policy, batch_size)
            scoring.evaluation.write(summary)

    def _scoring(self, model: AskedModel, test: AskedRows) -> Scoring:
        cell = self.cell(model, test)
        plan = plan_passes(test.examples, test.examples, controls=self.controls, seed=test.seed)
        template = model.settings.prompt_template
        evaluation = ResumableEvaluation(plan, cell.path, cell.identity, template=template)
        return Scoring(model, test, evaluation, self.controls, self.with_letters)

    def write(self) -> dict[str, Any]:
        """Write matrix.json from the cells, all of which must be there, and return it.

        ``controls`` holds a matrix of its own per control, see `control_json`.
        """
        summaries = {
            (model.name, test.name): self.cell(model, test).read_summary()
            for model in self.models
            for test in self.tests
        }
        matrix = matrix_json({cell: summary["overall"] for cell, summary in summaries.items()})
        if self.controls:
            matrix["controls"] = {name: control_json(summaries, name) for name in self.controls}
        for cell in matrix["cells"]:
            path = cell_path(self.output, cell["model"], cell["test"])
            cell["path"] = path.relative_to(self.output).as_posix()
        matrix |= {
            "models": {model.name: described(model) for model in self.models},
            "tests": {test.name: {"source": test.sources[0]} for test in self.tests},
        }
        write_json(self.output / "matrix.json", matrix)
        return matrix


def check_matrix_directory(path: Path) -> None:
    """Raise for an output folder that is a file, or holds something that is no matrix."""
    check_own_directory(path, "cells", "matrix")
