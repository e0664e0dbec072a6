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
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.asking.flags import curate_parser
from process.command import command
from process.page import fitted
from process.signals import exit_status, reason
from process.storage import write_json


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    given = vars(curate_parser().parse_args(argv))
    try:
        curate(given)
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


def curate(given: dict[str, Any]) -> None:
    """Sample, judge, write and print.

    Raises:
        ValueError: what the user can mend, in one sentence.
    """
    from data.sample import spread_sample
    from data.sources import Wanted, load_splits
    from evaluation.answers.identity import CurationIdentity
    from evaluation.asking.built_in import say_same_names
    from evaluation.asking.checkpoint import (
        asking,
        check_machine,
        chosen_device,
        chosen_dtype,
        chosen_policy,
    )
    from evaluation.asking.preflight import (
        Preflight,
        PromptCheck,
        left_out_before,
        tell_gone_bad,
    )
    from evaluation.asking.settings import describe
    from evaluation.curate.crossfit import check_prior, crossfit
    from evaluation.curate.place import SETTINGS, check_place
    from evaluation.curate.reasons import DEFAULT_DROP, check_choosing, judge_row
    from evaluation.curate.report import curation_table, summarize_curation
    from evaluation.curate.split import check_sources, split_files
    from grpo.run.provenance import model_checksum

    drop, blind_share = given.get("drop", DEFAULT_DROP), given.get("blind_share", 0.75)
    prior, samples, seed = (
        given.get("prior", "lookup"),
        given.get("samples", 8),
        given.get("seed", 0),
    )
    check_choosing(drop, blind_share)
    check_prior(prior)
    check_sources(given["json"])
    _check_numbers(given)
    check_machine(given)
    say_same_names([given["model"]], given["json"])
    checkpoint, settings, turn_builder = asking(given["model"], given)
    output = Path(given["output_dir"])
    check_place(output)
    skips = given.get("skip_bad_rows", False)
    check = PromptCheck(checkpoint, turn_builder, settings.max_completion_tokens)
    preflight = Preflight([check])
    sample = partial(spread_sample, limit=given.get("limit"), seed=seed)
    left_out = left_out_before(output / SETTINGS)
    find_faults = preflight if skips else preflight.of_sample(sample)
    wanted = Wanted(given["json"], find_faults, left_out)
    root = given.get("image_root")
    data = load_splits({"train": wanted}, image_root=root, skip_bad_rows=skips)["train"]
    tell_gone_bad(data)
    examples = sample(data.examples)
    letters = crossfit(examples, prior, seed)
    if letters is None:
        raise ValueError("all rows show one image: there are no others to fit a text prior on")
    device = chosen_device(given)
    from evaluation.curate.passes import count_passes, open_passes
    from models.checkpoint.loading import check_dtype

    identity = CurationIdentity.of(
        settings,
        model_checksum=model_checksum(checkpoint),
        checksums=data.checksums,
        limit=given.get("limit"),
        seed=seed,
        skipped_rows=len(data.bad_rows),
        controls=(),
        left_out=data.left_out,
        samples=samples,
        image_root=root,
        dtype=str(check_dtype(chosen_dtype(given), device)).removeprefix("torch."),
    )
    done = open_passes(output, identity, [example.id for example in examples])
    print(describe(given["model"], settings, checkpoint))
    print(f"{'rows':<16}{len(examples):,} of {len(data.examples):,}, {len(done):,} sampled before")
    if data.bad_rows:
        print(f"{'skipped rows':<16}{len(data.bad_rows):,}, the first: {data.bad_rows[0]}")
    passes = count_passes(
        chosen_policy(given["model"], device, given) if len(done) < len(examples) else None,
        examples,
        turn_builder,
        mode=settings.mode,
        max_completion_tokens=settings.max_completion_tokens,
        samples=samples,
        seed=seed,
        batch_size=given.get("batch_size", 64),
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
        judge_row(*row, samples=samples, drop=drop, blind_share=blind_share) for row in rows
    ]
    files = split_files(given["json"], examples, [item.kept for item in verdicts], data.checksums)
    summary = summarize_curation(
        examples,
        verdicts,
        drop=drop,
        prior=prior,
        group_size=given.get("group_size", 4),
        seed=seed,
    )
    summary["unreadable"] = unreadable
    summary["files"] = {name: len(rows) for name, rows in files.items()}
    summary["settings"] = {
        **identity.to_json(),
        "model": given["model"],
        "--blind-share": blind_share,
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


def _check_numbers(given: dict[str, Any]) -> None:
    least = {"samples": 2, "group_size": 2, "batch_size": 1, "limit": 1, "seed": 0}
    for name, bound in least.items():
        if given.get(name, bound) < bound:
            raise ValueError(f"--{name.replace('_', '-')} {given[name]} must be at least {bound}")


if __name__ == "__main__":
    sys.exit(main())
