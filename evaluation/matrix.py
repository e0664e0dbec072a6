"""Every checkpoint on every test file: each cell an evaluation of its own, resumable.

    <output>/cells/<model>/<test>/summary.json, predictions.jsonl     written whole or not at all
    <output>/cells/<model>/<test>.unfinished/                         the answers of a cell at work
    <output>/matrix.json                                              when all cells are there

A cell may be asked under controls too; its predictions.jsonl then holds those answers as well. All
cells are looked at before the first is evaluated, so that one that does not fit stops the job
at once; what is done is skipped, so a broken-off matrix goes on with the same command, within the
cell that was at work.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.answers.finished import read_evaluation
from evaluation.answers.identity import CellIdentity
from evaluation.answers.kept_fields import kept_fields
from evaluation.answers.prediction import Prediction
from evaluation.answers.unfinished import unfinished_folder
from evaluation.asked_rows import AskedRows
from evaluation.asking.asked_model import AskedModel
from evaluation.asking.evaluation_plan import plan_passes
from evaluation.asking.progress import TimeLeft
from evaluation.asking.resumable import ResumableEvaluation
from evaluation.cells import Cell, cell_path
from evaluation.matrix_json import by_field_json, control_json, described, matrix_json
from evaluation.measures.priors import FittedPriors, summarize_priors
from evaluation.scoring import Scoring
from process.places import check_own_directory
from process.ranks import first_owns, world
from process.storage import write_json

if TYPE_CHECKING:  # imports torch, for which no mistake in flags or data should wait
    from models.policy import Policy

PriorsOf = Callable[[str], FittedPriors | None]  # a model's slice -> those of its train rows


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
        by: Sequence[str] = (),
    ) -> None:
        """Name the cells; nothing is evaluated yet.

        Args:
            output: the matrix's folder.
            models: the rows.
            tests: the columns.
            controls: names as `evaluation.answers.controls.control_named` takes them, asked beside
                every cell.
            priors_of: a model's name -> its text priors, put into the cells' summaries.
            with_letters: also compute the option letters' probabilities, for the calibration.
            by: fields of the rows, for whose values matrix.json holds a matrix each.

        Raises:
            ValueError: a folder that holds no matrix.
        """
        check_matrix_directory(output)
        self.output, self.models, self.tests = output, list(models), tests
        self.controls, self.priors_of = tuple(controls), priors_of
        self.with_letters, self.by = with_letters, tuple(by)

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

    def to_do(self) -> list[tuple[AskedModel, AskedRows]]:
        """Return what `pending` does in the first of several processes; in each of them."""
        cells = [(model, test) for model in self.models for test in self.tests]

        def places() -> list[int]:
            pending = [(model.name, test.name) for model, test in self.pending()]
            return [
                i for i, (model, test) in enumerate(cells) if (model.name, test.name) in pending
            ]

        return [cells[place] for place in world().by_the_first("looking at the cells", places)]

    def fill(
        self,
        load: Callable[[str], "Policy"],
        *,
        batch_size: int | None,
        progress: TimeLeft | None = None,
        kind: str = "cell",
    ) -> None:
        """Evaluate what is missing; each checkpoint is loaded once, one at a time.

        Several processes fill a cell together.

        Args:
            load: checkpoint -> policy.
            batch_size: questions answered at once; None: as many as fit, see `questions_at_once`.
            progress: counts one unit per cell; default: one for this matrix.
            kind: of those units.
        """
        pending = self.to_do()
        progress = progress or TimeLeft({kind: len(pending)})
        for model in self.models:
            tests = [test for one, test in pending if one is model]
            if not tests:
                continue
            with world().together("loading the model"):
                policy = load(model.checkpoint)
            for test in tests:
                with progress.unit(kind, f"{model.name} on {test.name}"):
                    self._evaluate(policy, model, test, batch_size)
            del policy  # before the next is loaded: two may not fit

    def _evaluate(
        self, policy: "Policy", model: AskedModel, test: AskedRows, batch_size: int | None
    ) -> None:
        place = self.cell(model, test).path
        with first_owns(unfinished_folder(place), place, temporary=True):
            with world().together("looking at a cell"):
                scoring = self._scoring(model, test)
            batch_size = scoring.batch_size(policy, batch_size)
            scoring.ask(policy, batch_size)
            with world().together("writing a cell"):
                if world().is_first:
                    self._write_cell(scoring, policy, batch_size)

    def _write_cell(self, scoring: Scoring, policy: "Policy", batch_size: int) -> None:
        plain, summary = scoring.answers()
        if self.priors_of is not None and (priors := self.priors_of(scoring.model.name)):
            summary["text_priors"] = summarize_priors(priors, scoring.test.examples, plain)
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

        ``controls`` holds a matrix of its own per control, see `control_json`, and ``by_field``
        one per value of a field, see `by_field_json`.
        """
        summaries = {
            (model.name, test.name): self.cell(model, test).read_summary()
            for model in self.models
            for test in self.tests
        }
        matrix = matrix_json({cell: summary["overall"] for cell, summary in summaries.items()})
        if self.controls:
            matrix["controls"] = {name: control_json(summaries, name) for name in self.controls}
        if self.by:
            cells = (((m.name, t.name), self._rows(m, t)) for m in self.models for t in self.tests)
            matrix["by_field"] = by_field_json(cells, self.by)
        for cell in matrix["cells"]:
            path = cell_path(self.output, cell["model"], cell["test"])
            cell["path"] = path.relative_to(self.output).as_posix()
        matrix |= {
            "models": {model.name: described(model) for model in self.models},
            "tests": {test.name: {"source": test.sources[0]} for test in self.tests},
        }
        write_json(self.output / "matrix.json", matrix)
        return matrix

    def _rows(self, model: AskedModel, test: AskedRows) -> list[Prediction]:
        """Return a cell's answers, with the fields of the test's rows: older cells lack them."""
        answers = read_evaluation(self.cell(model, test).path).rows
        pairs = zip(answers, test.examples, strict=True)
        return [replace(item, fields=kept_fields(example.fields)) for item, example in pairs]


def check_matrix_directory(path: Path) -> None:
    """Raise for an output folder that is a file, or holds something that is no matrix."""
    check_own_directory(path, "cells", "matrix")
