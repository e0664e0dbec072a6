"""Text priors of the new split beside those of the files as given and of the same rows as given."""

from collections.abc import Mapping, Sequence
from typing import Any

from data.examples import VQAExample
from data.priors import LinearRanker, OptionLookup, accuracy
from data.priors.fitted import chance
from process.tables.numbers import percent
from process.tables.value import Table, columns_of

COMPARED_PRIORS = {"lookup": OptionLookup, "linear ranker": LinearRanker}
AS_GIVEN, ORIGINAL, NEW = "as given", "original", "written"
Parts = tuple[Sequence[VQAExample], Sequence[VQAExample]]  # train, test


def compare_priors(versions: Mapping[str, Mapping[str, Parts]]) -> dict[str, dict[str, Any]]:
    """Return slice -> version -> n, chance and each prior's accuracy on the version's test part.

    Args:
        versions: version -> slice -> (train, test); slices without both parts are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for version, slices in versions.items():
        for name, (train, test) in sorted(slices.items()):
            if train and test:
                found.setdefault(name, {})[version] = {
                    "n": len(test),
                    "chance": chance(test),
                    **{
                        p: accuracy(kind().fit(train), test)["accuracy"]
                        for p, kind in COMPARED_PRIORS.items()
                    },  # None: no choice is among the rows
                }
    return found


def mean_priors(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return version -> means over the slices that have every version, and their number.

    A mean is None where one of the slices has no such number.
    """
    versions = {version: None for slices in found.values() for version in slices}
    whole = [slices for slices in found.values() if len(slices) == len(versions)]
    if not whole:
        return {}
    return {
        version: {"slices": len(whole)}
        | {
            key: _mean([slices[version][key] for slices in whole])
            for key in ("chance", *COMPARED_PRIORS)
        }
        for version in versions
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def priors_comparison(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the table that the command prints."""
    versions = list({version: None for slices in found.values() for version in slices})
    headings = ["slice"]
    for version in versions:
        headings += [f"{version}: n", "chance", *COMPARED_PRIORS]
    rows = [[name, *_cells(slices, versions)] for name, slices in found.items()]
    if mean := mean_priors(found):
        rows.append([f"mean of {mean[versions[0]]['slices']}", *_cells(mean, versions)])
    note = (
        "accuracy in per cent of guessers that see no image, fitted on the slice's train part."
        f" {AS_GIVEN}: the files' own split and text."
    )
    if ORIGINAL in versions:
        note += f" {ORIGINAL}: the written rows with their published text. The mean is of the"
        note += " slices that have every version."
    return Table(columns_of(headings), rows, "Text priors", note)


def _cells(slices: Mapping[str, Any], versions: Sequence[str]) -> list[str]:
    cells = []
    for version in versions:
        one = slices.get(version)
        if one is None:
            cells += ["-"] * (2 + len(COMPARED_PRIORS))
            continue
        cells.append(f"{one['n']:,}" if "n" in one else "")
        cells += [percent(one[key]) or "-" for key in ("chance", *COMPARED_PRIORS)]
    return cells
