"""What the filter does, in numbers: reasons, slices, text prior, groups without spread."""

from collections.abc import Callable, Sequence
from typing import Any

from data.examples import VQAExample
from evaluation.curate.crossfit import crossfit
from evaluation.curate.reasons import REASONS, CuratedRow, zero_spread
from evaluation.measures.statistics import chance_level
from rewards.forms import FORMS, is_right


def summarize_curation(
    examples: Sequence[VQAExample],
    rows: Sequence[CuratedRow],
    *,
    drop: Sequence[str],
    prior: str,
    group_size: int,
    seed: int,
) -> dict[str, Any]:
    """Return what was found and what the filter does.

        rows, kept, samples, group_size, prior, drop
        reasons            name -> ``rows``, ``share``, ``dropped`` (whether --drop names it)
        before, after      of all rows and of the kept: ``rows``, ``chance``, ``pass_rate``,
                           ``blank_pass_rate``, ``prior_accuracy``, ``zero_spread`` (see
                           `reasons.zero_spread`); after is None where nothing is kept
        by_modality, by_question_type   slice -> ``rows``, ``kept``, ``share_before``,
                           ``share_after`` (of the kept rows), ``reasons`` (name -> rows)

    ``prior_accuracy`` of the kept rows is that of the prior fitted anew on them, cross-fitted: what
    their text still gives away. None where they share one image.
    """
    kept = [(one, item) for one, item in zip(examples, rows, strict=True) if item.kept]
    n = len(rows)

    def numbers(pairs: Sequence[tuple[VQAExample, CuratedRow]]) -> dict[str, Any]:
        some, found = zip(*pairs, strict=True)
        return _numbers(some, found, prior, group_size, seed)

    counts = {name: sum(name in item.reasons for item in rows) for name in REASONS}
    return {
        "rows": n,
        "kept": len(kept),
        "samples": rows[0].samples,
        "group_size": group_size,
        "prior": prior,
        "drop": list(drop),
        "reasons": {
            name: {"rows": count, "share": count / n, "dropped": name in drop}
            for name, count in counts.items()
        },
        "before": numbers(list(zip(examples, rows, strict=True))),
        "after": numbers(kept) if kept else None,
        "by_modality": _slices(rows, lambda item: item.modality),
        "by_question_type": _slices(rows, lambda item: item.question_type),
    }


def _numbers(
    examples: Sequence[VQAExample],
    rows: Sequence[CuratedRow],
    prior: str,
    group_size: int,
    seed: int,
) -> dict[str, Any]:
    n, samples = len(rows), rows[0].samples
    blank = [item.blank_passes for item in rows if item.blank_passes is not None]
    letters = crossfit(examples, prior, seed)
    right = None
    if letters is not None:
        pairs = zip(letters, examples, strict=True)
        right = sum(is_right(letter, example) for letter, example in pairs) / n
    return {
        "rows": n,
        "chance": chance_level([FORMS[item.form].chance(item) for item in examples]),
        "pass_rate": sum(item.passes for item in rows) / (n * samples),
        "blank_pass_rate": sum(blank) / (len(blank) * samples) if blank else None,
        "prior_accuracy": right,
        "zero_spread": zero_spread([item.passes for item in rows], samples, group_size),
    }


def _slices(
    rows: Sequence[CuratedRow], key: Callable[[CuratedRow], str]
) -> dict[str, dict[str, Any]]:
    num_kept = sum(item.kept for item in rows)
    slices: dict[str, list[CuratedRow]] = {}
    for item in rows:
        slices.setdefault(key(item), []).append(item)
    return {
        name: {
            "rows": len(items),
            "kept": (kept := sum(item.kept for item in items)),
            "share_before": len(items) / len(rows),
            "share_after": kept / num_kept if num_kept else 0.0,
            "reasons": {why: sum(why in item.reasons for item in items) for why in REASONS},
        }
        for name, items in sorted(slices.items())
    }
