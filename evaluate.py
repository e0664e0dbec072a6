"""Score a checkpoint on medical image questions, or ask it one.

    python evaluate.py                                    the embedded model on held-out phantoms
    python evaluate.py --model DIR --json FILE --image-root DIR
    python evaluate.py --controls blank shuffled --permute-options 4 --text-prior phantoms
    python evaluate.py ask --model DIR --image FILE --question TEXT --options TEXT TEXT ..
    python evaluate.py matrix --models NAME=DIR NAME=DIR .. --json FILE FILE .. --output-dir DIR
    python evaluate.py compare EVALUATION_DIR EVALUATION_DIR

This file puts an evaluation together: flags -> settings -> data, policy ->
evaluation.asking.passes. What is measured and how is in evaluation/.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.asking.built_in import say_same_names
from evaluation.asking.checkpoint import asking, check_machine, chosen_device, chosen_policy
from evaluation.asking.flags import ask_parser, compare_parser, matrix_parser, score_parser
from process.command import command
from process.page import fitted, fitted_on
from process.signals import exit_status, reason

_EMBEDDED = {"model": "tiny", "json": ["phantoms"]}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    argv = list(sys.argv[1:] if argv is None else argv)
    run, parser = _score_command, score_parser()
    if argv[:1] == ["ask"]:
        argv, run, parser = argv[1:], _ask_command, ask_parser()
    elif argv[:1] == ["matrix"]:
        argv, run, parser = argv[1:], _matrix_command, matrix_parser()
    elif argv[:1] == ["compare"]:
        argv, run, parser = argv[1:], _compare_command, compare_parser()
    elif argv and not argv[0].startswith("-"):
        parser.error(f"unknown subcommand {argv[0]!r}: use ask, matrix or compare, or flags alone")
    given = vars(parser.parse_args(argv))
    try:
        run(given)
    except KeyboardInterrupt as error:
        kept = ""
        if run is _matrix_command:
            kept = ": finished cells stay, the same command goes on with the others"
        print(f"\n{reason(error)}{kept}", file=sys.stderr)
        return exit_status(error)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported yet
            raise
        lower = (
            "lower --image-size" if run is _ask_command else "lower --batch-size or --image-size"
        )
        print(f"error: the GPU's memory is full ({error}): {lower}", file=sys.stderr)
        return 2
    return 0


def _score_command(given: dict[str, Any]) -> None:
    from evaluation.answers.finished import default_directory
    from evaluation.report.write import report_finished
    from evaluation.score import Job
    from process.storage import check_new_directory

    _refuse_half_an_evaluation(given)
    _refuse_idle_flags(given)
    _check_numbers(given)
    model, names = (given.get(name, default) for name, default in _EMBEDDED.items())
    output = Path(given["output_dir"]) if "output_dir" in given else default_directory(model)
    check_new_directory(output)
    job = Job.prepare(model, names, given, output)  # all that can fail before weights are loaded
    print(job.description())
    policy = chosen_policy(model, job.device, given)
    summary, swaps = job.ask(policy)
    print(f"\n{job.tables(summary)}\n")
    job.evaluation.write(summary, swaps)
    print(f"written: {output / 'summary.json'}, {output / 'predictions.jsonl'}")
    report_finished(output)


def _ask_command(given: dict[str, Any]) -> None:
    from data.images import load_image
    from evaluation.ask import answer_text, ask, asked_example
    from evaluation.asking.settings import describe

    check_machine(given)
    say_same_names([given["model"]], ())
    images = [Path(image) for image in given["image"]]
    asked_example(images, given["question"], given["options"])
    directory, settings, turn_builder = asking(given["model"], given)
    for image in images:
        load_image(image, settings.image_size)  # one that is broken does not wait for the weights
    policy = chosen_policy(given["model"], chosen_device(given), given)
    prediction = ask(
        policy,
        turn_builder,
        images=images,
        question=given["question"],
        options=given["options"],
        mode=settings.mode,
        max_completion_tokens=settings.max_completion_tokens,
    )
    asked = describe(given["model"], settings, directory)
    print(f"{asked}\n\n{answer_text(prediction, bar=_bar())}")


def _matrix_command(given: dict[str, Any]) -> None:
    from evaluation.matrix import (
        Matrix,
        asked_model,
        check_matrix_directory,
        load_tests,
        prompt_check,
    )
    from evaluation.measures.slices import named_models, named_tests
    from evaluation.report.matrix_text import matrix_table
    from evaluation.report.write import report_finished
    from models.prompts.image_processor import seen_as

    _check_numbers(given)
    models, sources = named_models(given["models"]), named_tests(given["json"])
    output = Path(given["output_dir"])
    check_matrix_directory(output)
    check_machine(given)
    say_same_names(list(models.values()), given["json"])
    tests = load_tests(
        sources,
        image_root=given.get("image_root"),
        limit=given.get("limit"),
        seed=given.get("seed", 0),
        skip_bad_rows=given.get("skip_bad_rows", False),
        checks=[prompt_check(checkpoint, given) for checkpoint in models.values()],
    )
    asked = [asked_model(name, models[name], given) for name in models]
    matrix = Matrix(output, asked, tests, controls=given.get("controls", ()))
    for model in matrix.models:
        for warning in model.settings.warnings:
            print(fitted_on(sys.stderr, f"warning: {model.name}: {warning}"), file=sys.stderr)
        if size := model.settings.image_size:
            print(f"{model.name}: images are seen as {seen_as(model.directory, size)}")
    pending, count = len(matrix.pending()), len(models) * len(tests)
    device = chosen_device(given)
    print(f"{count} cells, {count - pending} of them done: {output / 'cells'}", file=sys.stderr)
    matrix.fill(
        lambda checkpoint: chosen_policy(checkpoint, device, given),
        batch_size=given.get("batch_size"),
    )
    written = matrix.write()
    print(matrix_table(written))
    for name, control in written.get("controls", {}).items():
        print(f"\nthe same under {name}\n{matrix_table(control)}")
    print("\nper cent, strict; [ ]: trained on that slice; macro: every cell weighs the same")
    print(f"written: {output / 'matrix.json'}")
    report_finished(output)


def _compare_command(given: dict[str, Any]) -> None:
    import json

    from evaluation.compare import compare, comparison_table, read_evaluation

    output = Path(given["output"]) if "output" in given else None
    if output is not None and output.exists():
        raise ValueError(f"--output {output} exists already: name a new file")
    first, second = read_evaluation(given["first"]), read_evaluation(given["second"])
    result = compare(first, second)
    for name, evaluation in (("first", first), ("second", second)):
        print(f"{name:<8}{evaluation.path}: {evaluation.about.get('model')}")
    print(f"\n{comparison_table(result)}")
    print(fitted("\nper cent, change in points; the range is by image; McNemar's test takes rows as"
          " independent"))  # fmt: skip
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"written: {output}")


def _check_numbers(given: dict[str, Any]) -> None:
    for name, least in (
        ("batch_size", 1),
        ("limit", 1),
        ("seed", 0),
        ("permute_options", 2),
        ("thought_samples", 2),
    ):
        if given.get(name, least) < least:
            raise ValueError(f"--{name.replace('_', '-')} {given[name]} must be at least {least}")


def _refuse_half_an_evaluation(given: dict[str, Any]) -> None:
    if "model" in given and "json" not in given:
        raise ValueError(
            f"--model {given['model']} without --json: add the test file (with --image-root), or"
            " 'phantoms' for the embedded data"
        )
    if "json" in given and "model" not in given:
        raise ValueError(
            f"--json {' '.join(given['json'])} without --model: add a checkpoint's directory, a"
            " Qwen2-VL hub id, or 'tiny' for the embedded model"
        )


def _refuse_idle_flags(given: dict[str, Any]) -> None:
    from evaluation.measures.thought_changes import check_changes

    if "shuffle_within" in given and "shuffled" not in given.get("controls", ()):
        raise ValueError(
            f"--shuffle-within {given['shuffle_within']} does nothing without a shuffled control:"
            " add --controls shuffled"
        )
    if "thought_samples" in given and "swapped" not in given.get("thoughts", ()):
        raise ValueError(
            f"--thought-samples {given['thought_samples']} does nothing without swapped thoughts:"
            " add --thoughts swapped"
        )
    check_changes(given.get("thoughts", ()))


def _bar() -> str:
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


if __name__ == "__main__":
    sys.exit(main())
