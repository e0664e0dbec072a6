"""Every checkpoint on every test file: each cell an evaluation of its own, resumable.

    <output>/cells/<model>/<test>/summary.json, predictions.jsonl     written whole or not at all
    <output>/cells/<model>/<test>.unfinished/                         the answers of a cell at work
    <output>/matrix.json                                              when all cells are there

A cell may be asked under controls too; its predictions.jsonl then holds those answers as well. All
cells are looked at before the first is evaluated, so that one that does not fit stops the job
at once; what is done is skipped, so a broken-off matrix goes on with the same command, within the
cell that was at work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import VQAExample
from data.sample import spread_sample
from data.sources import load_split
from data.turns import TurnBuilder
from evaluation.answers.identity import CellIdentity
from evaluation.answers.unfinished import unfinished_folder
from evaluation.asking.answered_by import answered_by
from evaluation.asking.passes import plan_passes, summarize_passes
from evaluation.asking.preflight import Preflight, PromptCheck, tell_skipped
from evaluation.asking.progress import TimeLeft
from evaluation.asking.resumable import ResumableEvaluation
from evaluation.asking.settings import AskingSettings, resolve_settings
from evaluation.cells import Cell, cell_path
from evaluation.measures.matrices import means, means_by_model, part_of
from evaluation.measures.priors import Prior, summarize_priors
from grpo.run.provenance import model_checksum
from grpo.settings.card import read_card
from models.files import find_checkpoint, read_config
from process.storage import check_own_directory, write_json

if TYPE_CHECKING:  # imports torch, for which no mistake in flags or data should wait
    from models.policy import Policy


@dataclass(frozen=True)
class TestSet:
    """The questions of one column, and what identifies them."""

    __test__ = False  # not one of pytest's

    name: str  # the slice
    source: str
    examples: Sequence[VQAExample]
    checksums: Mapping[str, str]
    skipped_rows: int
    limit: int | None
    seed: int


@dataclass(frozen=True)
class AskedModel:
    """One row: a checkpoint and how it is asked."""

    name: str
    checkpoint: str
    directory: Path
    checksum: str
    settings: AskingSettings


PriorsOf = Callable[[str], Mapping[str, Prior]]  # a model's slice -> what its train rows' text says


def prompt_check(checkpoint: str, asking: Mapping[str, Any]) -> PromptCheck:
    """Return what finds the rows that a model cannot be asked; arguments as `asked_model`'s."""
    directory = find_checkpoint(checkpoint)
    read_config(directory)
    settings = resolve_settings(directory, asking)
    turns = TurnBuilder(settings.prompt_template, settings.image_size)
    return PromptCheck(directory, turns, settings.max_completion_tokens)


def load_tests(
    tests: Mapping[str, str],
    *,
    image_root: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_bad_rows: bool = False,
    checks: Sequence[PromptCheck] = (),
) -> list[TestSet]:
    """Return the test sets of slice name -> source, every row fit to be asked.

    Without ``skip_bad_rows`` only rows of the sample are looked at; with it, rows that one of the
    models cannot be asked are left out for all, before the sample is drawn.

    Args:
        checks: how the models are going to be asked.

    Raises:
        ValueError: whatever `load_split` and `spread_sample` raise.
    """
    preflight = Preflight(checks)
    sample = partial(spread_sample, limit=limit, seed=seed)
    loaded = []
    for name, source in tests.items():
        split = load_split(
            [source],
            part="eval",
            image_root=image_root,
            skip_bad_rows=skip_bad_rows,
            find_faults=preflight if skip_bad_rows else preflight.of_sample(sample),
        )
        tell_skipped(split)
        examples = sample(split.examples)
        bad = len(split.bad_rows)
        loaded.append(TestSet(name, source, examples, split.checksums, bad, limit, seed))
    return loaded


class Matrix:
    """The cells of some models on some tests below one folder."""

    def __init__(
        self,
        output: Path,
        models: Sequence[AskedModel],
        tests: Sequence[TestSet],
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

    def cell(self, model: AskedModel, test: TestSet) -> Cell:
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

    def pending(self) -> list[tuple[AskedModel, TestSet]]:
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
                self._evaluation(model, test)
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
            policy = load(model.checkpoint) if tests else None
            for test in tests:
                with progress.unit(kind, f"{model.name} on {test.name}"):
                    self._evaluate(policy, model, test, batch_size)
            del policy  # before the next is loaded: two may not fit

    def _evaluate(
        self, policy: "Policy", model: AskedModel, test: TestSet, batch_size: int | None
    ) -> None:
        from evaluation.asking.asker import Asker
        from evaluation.asking.batching import batch_size_of

        settings, evaluation = model.settings, self._evaluation(model, test)
        batch_size = batch_size_of(batch_size, policy, settings, with_letters=self.with_letters)
        asker = Asker(
            policy,
            TurnBuilder(settings.prompt_template, settings.image_size),
            mode=settings.mode,
            max_completion_tokens=settings.max_completion_tokens,
            with_letters=self.with_letters,
        )
        evaluation.run(asker, batch_size)
        predictions = evaluation.predictions()
        summary = summarize_passes(evaluation.plan, predictions)
        if self.priors_of is not None and (priors := self.priors_of(model.name)):
            plain = predictions[: len(test.examples)]
            summary["text_priors"] = summarize_priors(priors, test.examples, plain)
        summary["evaluation"] = {
            "model": model.checkpoint,
            **answered_by(model.directory, model.checksum, policy),
            **settings.to_json(),
            "data": {
                "checksums": dict(test.checksums),
                "skipped_rows": test.skipped_rows,
                "limit": test.limit,
                "seed": test.seed,
            },
            "batch_size": batch_size,
            "controls": list(self.controls),
        }
        evaluation.write(summary)

    def _evaluation(self, model: AskedModel, test: TestSet) -> ResumableEvaluation:
        cell = self.cell(model, test)
        plan = plan_passes(test.examples, test.examples, controls=self.controls, seed=test.seed)
        template = model.settings.prompt_template
        return ResumableEvaluation(plan, cell.path, cell.identity, template=template)

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
            "models": {model.name: _described(model) for model in self.models},
            "tests": {test.name: {"source": test.source} for test in self.tests},
        }
        write_json(self.output / "matrix.json", matrix)
        return matrix


def matrix_json(entries: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, Any]:
    """Return cells, means and means by model as matrix.json holds them.

    A cell holds model, test, part (`diagonal`, `off_diagonal`, None), accuracy, n, low, high,
    chance.
    """
    tests = {test for _, test in entries}
    numbers = ("accuracy", "n", "low", "high", "chance")
    cells = [
        {"model": model, "test": test, "part": part_of(model, test, tests)}
        | {name: entry[name] for name in numbers}
        for (model, test), entry in entries.items()
    ]
    return {"cells": cells, "means": means(entries), "by_model": means_by_model(entries)}


def control_json(
    summaries: Mapping[tuple[str, str], Mapping[str, Any]], name: str
) -> dict[str, Any]:
    """Return a control's matrix: as `matrix_json`, and per cell its gain with low and high.

    ``gain`` is the accuracy of the rows it is possible for, minus the control's on the same rows.
    """
    found = {cell: summary["controls"][name] for cell, summary in summaries.items()}
    matrix = matrix_json({cell: control["overall"] for cell, control in found.items()})
    for cell in matrix["cells"]:
        gain = found[cell["model"], cell["test"]]["gain"]
        cell["gain"] = {key: gain[key] for key in ("gain", "low", "high")}
    return matrix


def check_matrix_directory(path: Path) -> None:
    """Raise for an output folder that is a file, or holds something that is no matrix."""
    check_own_directory(path, "cells", "matrix")


def asked_model(name: str, checkpoint: str, asking: Mapping[str, Any]) -> AskedModel:
    """Return a row of a matrix: find the checkpoint and say how it is asked.

    Args:
        name: the slice's.
        checkpoint: a directory, a hub id or `tiny`.
        asking: flags that replace the checkpoint's own: mode, image_size, prompt_template,
            max_completion_tokens.

    Raises:
        ValueError: a checkpoint or a flag that cannot be used.
    """
    directory = find_checkpoint(checkpoint)
    read_config(directory)
    settings = resolve_settings(directory, asking)
    return AskedModel(name, checkpoint, directory, model_checksum(directory), settings)


def _described(model: AskedModel) -> dict[str, Any]:
    card = read_card(model.directory)
    return {
        "model": model.checkpoint,
        "model_checksum": model.checksum,
        "method": card.get("method"),
        "step": card.get("step"),
        "mode": model.settings.mode,
    }
