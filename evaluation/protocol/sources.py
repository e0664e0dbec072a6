"""The rows of a protocol: which file each slice is, read and checked before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.images import check_images
from data.sources import Split, load_split
from evaluation.matrix import TestSet, load_tests
from evaluation.protocol.config import AxisPlan, DataPlan, ProtocolConfig
from evaluation.slices import slice_of_source

SAMPLE_SEED = 0  # of --limit's sample: every checkpoint answers the same rows


@dataclass(frozen=True)
class AxisData:
    """One axis: its test files, and the train file of each slice that is trained on."""

    tests: list[TestSet]
    train_sources: Mapping[str, str]  # slice -> what --train-json names
    train: Mapping[str, Split]


def load_axis(config: ProtocolConfig, axis: AxisPlan) -> AxisData:
    """Return the rows of an axis, their images checked to be there.

    Raises:
        ValueError: a slice without a file, or with two; whatever reading the rows raises.
    """
    data = config.data
    skip = bool(config.settings.get("skip_bad_rows", False))
    tests = _sources(data, axis, "test", axis.slices)
    train_sources = _sources(data, axis, "train", axis.train_slices)
    root = data.image_root or None
    train = {}
    for name, source in train_sources.items():
        train[name] = load_split([source], part="train", image_root=root, skip_bad_rows=skip)
        check_images(train[name].examples)
    found = load_tests(
        tests, image_root=root, limit=config.test_limit, seed=SAMPLE_SEED, skip_bad_rows=skip
    )
    return AxisData(found, train_sources, train)


def _sources(data: DataPlan, axis: AxisPlan, part: str, slices: tuple[str, ...]) -> dict[str, str]:
    """Return slice -> a source that `load_split` reads."""
    if data.phantoms:
        return {name: f"phantoms:{name}" for name in slices}
    folder = Path(data.train_dir if part == "train" else data.test_dir)
    if not folder.is_dir():
        raise ValueError(f"[data] {part}_dir = {str(folder)!r} is not a folder: check the path")
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.glob(f"*_{part}.json")):
        files.setdefault(slice_of_source(str(file)), []).append(file)
    key = "slices" if part == "test" else "train_slices"
    for name in slices:
        found = files.get(name, [])
        if not found:
            raise ValueError(
                f"[{axis.name}] {key} names {name}, and {folder} holds no file of it (such as"
                f" {name}_{part}.json): add the file, or list only the others in {key}"
            )
        if len(found) > 1:
            raise ValueError(
                f"{folder} holds {len(found)} files of {name} ({found[0].name}, {found[1].name}):"
                " leave one of them there"
            )
    return {name: str(files[name][0]) for name in slices}
