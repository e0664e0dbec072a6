"""`evaluate.py matrix`: from its flags to matrix.json and its table."""

import sys
from collections.abc import Mapping
from pathlib import Path

from evaluation.answers.kept_fields import kept_fields
from evaluation.asked_rows import load_tests
from evaluation.asking.asked_model import asked_model, chosen_device, chosen_policy
from evaluation.asking.built_in import say_same_names
from evaluation.configs import MatrixConfig
from evaluation.matrix import Matrix, check_matrix_directory
from evaluation.measures.sliced import check_by
from evaluation.measures.slices import named_models, named_tests
from evaluation.report.matrix_text import field_matrices, matrix_table, sensitivity_table
from evaluation.report.write import report_finished
from models.prompts.image_processor import seen_as
from process.ranks import first_owns, joined, world


def matrix_command(config: MatrixConfig) -> None:
    """Do what `evaluate.py matrix` is asked to do: fill the matrix, write and print it.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    checkpoints, sources = named_models(config.models), named_tests(config.json)
    output = Path(config.output_dir)
    with joined():
        world().by_the_first("looking at the matrix", lambda: check_matrix_directory(output))
        with first_owns(output):
            _matrix_in(output, config, checkpoints, sources)


def _matrix_in(
    output: Path,
    config: MatrixConfig,
    checkpoints: Mapping[str, str],
    sources: Mapping[str, str],
) -> None:
    with world().together("reading the questions"):
        matrix = _prepared(output, config, checkpoints, sources)
        device = chosen_device(config.device)
    pending, count = len(matrix.to_do()), len(matrix.models) * len(matrix.tests)
    print(f"{count} cells, {count - pending} of them done: {output / 'cells'}", file=sys.stderr)
    matrix.fill(
        lambda checkpoint: chosen_policy(checkpoint, device, config.dtype),
        batch_size=config.batch_size,
    )
    with world().together("writing the matrix"):
        if world().is_first:
            _write(matrix)


def _prepared(
    output: Path,
    config: MatrixConfig,
    checkpoints: Mapping[str, str],
    sources: Mapping[str, str],
) -> Matrix:
    say_same_names(list(checkpoints.values()), config.json)
    models = [asked_model(name, checkpoint, config) for name, checkpoint in checkpoints.items()]
    tests = load_tests(
        sources,
        image_root=config.image_root,
        limit=config.limit,
        seed=config.seed,
        skip_bad_rows=config.skip_bad_rows,
        only=config.only,
        checks=[model.prompt_check for model in models],
    )
    for model in models:
        model.tell_warnings(f"{model.name}: ")
        if size := model.settings.image_size:
            print(f"{model.name}: images are seen as {seen_as(model.directory, size)}")
    check_by(config.by, [kept_fields(row.fields) for test in tests for row in test.examples])
    return Matrix(output, models, tests, controls=config.single_controls, by=config.by)


def _write(matrix: Matrix) -> None:
    written = matrix.write()
    print(matrix_table(written))
    for name, control in written.get("controls", {}).items():
        print(f"\nthe same under {name}\n{matrix_table(control)}")
        if changes := sensitivity_table(control):
            print(f"\n{changes}")
    for title, part in field_matrices(written):
        print(f"\n{title}\n{matrix_table(part)}")
    print("\nper cent, strict; [ ]: trained on that slice; macro: every cell weighs the same")
    print(f"written: {matrix.output / 'matrix.json'}")
    report_finished(matrix.output)
