"""``python -m evaluation.curate``: which train rows are worth training on; see docs/curate.md.

settings.json, passes.jsonl   what is sampled, row by row: an interrupted run goes on from here
curate.jsonl                  per row: counts, the prior's choice, reasons, kept or not
split/<name>.json             the kept rows in the published format
summary.json                  what the filter does; written last: a finished curation has it
"""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.curate.command_line import CurateConfig, curate_parser
from process.command import command
from process.flags import config_from
from process.page import fitted
from process.signals import exit_status, reason
from process.storage import write_json


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    given = vars(curate_parser().parse_args(argv))
    try:
        curate(config_from(CurateConfig, given))
    except KeyboardInterrupt as error:
        print(f"\n{reason(error)}: the same command goes on where it was", file=sys.stderr)
        return exit_status(error)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported yet
            raise
        print(f"error: the GPU's memory is full ({error}): lower --batch-size", file=sys.stderr)
        return 2
    return 0


def curate(config: CurateConfig) -> None:
    """Sample, judge, write and print.

    Raises:
        ValueError: what the user can mend, in one sentence.
    """
    from evaluation.answers.identity import CurationIdentity
    from evaluation.asked_rows import load_asked_rows
    from evaluation.asking.built_in import say_same_names
    from evaluation.asking.checkpoint import (
        asked_model,
        chosen_device,
        chosen_dtype,
        chosen_policy,
    )
    from evaluation.asking.preflight import Preflight, left_out_before, tell_gone_bad
    from evaluation.asking.settings import describe
    from evaluation.curate.crossfit import crossfit
    from evaluation.curate.place import SETTINGS, check_place
    from evaluation.curate.reasons import judge_row
    from evaluation.curate.report import curation_table, summarize_curation
    from evaluation.curate.split import split_files

    say_same_names([config.model], config.json)
    model = asked_model(config.model, config.model, config)
    model.tell_warnings()
    output = Path(config.output_dir)
    check_place(output)
    data = load_asked_rows(
        "",
        config.json,
        Preflight([model.prompt_check]),
        image_root=config.image_root,
        limit=config.limit,
        seed=config.seed,
        skip_bad_rows=config.skip_bad_rows,
        left_out=left_out_before(output / SETTINGS),
        part="train",
    )
    tell_gone_bad(data.split)
    examples = data.examples
    letters = crossfit(examples, config.prior, config.seed)
    if letters is None:
        raise ValueError("all rows show one image: there are no others to fit a text prior on")
    device = chosen_device(config.device)
    from evaluation.curate.passes import count_passes, open_passes
    from models.checkpoint.loading import check_dtype

    settings, bad_rows = model.settings, data.split.bad_rows
    identity = CurationIdentity.of(
        settings,
        data,
        model_checksum=model.checksum,
        controls=(),
        left_out=data.split.left_out,
        samples=config.samples,
        image_root=config.image_root,
        dtype=str(check_dtype(chosen_dtype(config.dtype), device)).removeprefix("torch."),
    )
    done = open_passes(output, identity, [example.id for example in examples])
    print(describe(config.model, settings, model.directory))
    total = len(data.split.examples)
    print(f"{'rows':<16}{len(examples):,} of {total:,}, {len(done):,} sampled before")
    if bad_rows:
        print(f"{'skipped rows':<16}{len(bad_rows):,}, the first: {bad_rows[0]}")
    passes = count_passes(
        chosen_policy(config.model, device, config.dtype) if len(done) < len(examples) else None,
        examples,
        settings.turn_builder,
        mode=settings.mode,
        max_completion_tokens=settings.max_completion_tokens,
        samples=config.samples,
        seed=config.seed,
        batch_size=config.batch_size,
        directory=output,
        done=done,
    )
    unreadable = {item.id: item.unreadable for item in passes if item.unreadable is not None}
    if len(unreadable) == len(examples):
        raise ValueError(f"no row could be read to be sampled, the first: {passes[0].unreadable}")
    rows = [
        row for row in zip(examples, passes, letters, strict=True) if row[0].id not in unreadable
    ]
    examples = [row[0] for row in rows]
    verdicts = [
        judge_row(*row, samples=config.samples, drop=config.drop, blind_share=config.blind_share)
        for row in rows
    ]
    files = split_files(config.json, examples, [item.kept for item in verdicts], data.checksums)
    summary = summarize_curation(
        examples,
        verdicts,
        drop=config.drop,
        prior=config.prior,
        group_size=config.group_size,
        seed=config.seed,
    )
    summary["unreadable"] = unreadable
    summary["files"] = {name: len(rows) for name, rows in files.items()}
    summary["settings"] = {
        **identity.to_json(),
        "model": config.model,
        "--blind-share": config.blind_share,
    }
    _write(output, [item.to_json() for item in verdicts], files, summary)
    if unreadable:
        print(f"\n{len(unreadable):,} rows could not be read to be sampled: none of them is kept")
    print(f"\n{fitted(curation_table(summary))}\n")
    print(f"written: {output / 'summary.json'}, {output / 'split'}")
    if not files:
        print("no row is left: drop fewer reasons, or sample from another model", file=sys.stderr)


def _write(
    output: Path, lines: list[dict[str, Any]], files: dict[str, list[Any]], summary: dict[str, Any]
) -> None:
    """Write what was found; summary.json last, so that it says that all is there."""
    shutil.rmtree(output / "split", ignore_errors=True)  # of a run that stopped while writing
    (output / "split").mkdir()
    for name, rows in files.items():
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        (output / "split" / name).write_text(text, encoding="utf-8")
    with (output / "curate.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_json(output / "summary.json", summary)


if __name__ == "__main__":
    sys.exit(main())
