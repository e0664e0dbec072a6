"""The rows of a protocol: which file each slice is, read and checked before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.examples import VQAExample
from data.faults import Fault
from data.prompts import prompt_template
from data.sources import Split, load_split
from data.turns import TurnBuilder
from evaluation.asked_rows import AskedRows, load_tests
from evaluation.asking.preflight import Preflight
from evaluation.asking.prompt_check import PromptCheck
from evaluation.measures.slices import slice_of_source
from evaluation.protocol.arms import Arm, arm_config
from evaluation.protocol.protocol_file import AxisPlan, DataPlan, ProtocolConfig
from grpo.settings.reward_arguments import RewardArguments
from rewards import load_rewards, try_rewards
from rewards.calls import Calls

SAMPLE_SEED = 0  # of --limit's sample: every checkpoint answers the same rows


@dataclass(frozen=True)
class AxisData:
    """One axis: its test files, and the train file of each slice that is trained on."""

    tests: list[AskedRows]
    train_sources: Mapping[str, str]  # slice -> what --train-json names
    train: Mapping[str, Split]


def load_axis(config: ProtocolConfig, axis: AxisPlan) -> AxisData:
    """Return the rows of an axis, each fit to be shown to the start model.

    Raises:
        ValueError: a slice without a file, or with two; whatever reading the rows raises.
    """
    data = config.data
    skip = bool(config.settings.get("skip_bad_rows", False))
    only = tuple(config.settings.get("only", ()))
    tests = _sources(data, axis, "test", axis.slices)
    train_sources = _sources(data, axis, "train", axis.train_slices)
    root = data.image_root or None
    checks = _checks(config, axis, next(iter(train_sources.values()), ""))
    preflight = Preflight([checks[method] for method in config.methods])
    train = {}
    for name, source in train_sources.items():

        def find_faults(examples: Sequence[VQAExample], source: str = source) -> dict[str, Fault]:
            _try_rewards(config, axis, source, examples)  # before images, which may take long
            return preflight(examples)

        train[name] = load_split(
            [source],
            part="train",
            image_root=root,
            skip_bad_rows=skip,
            find_faults=find_faults,
            only=only,
        )
        if train[name].left_out:
            own = [checks[method] for method in config.methods]
            _check_same_rows(train[name], source, root, own)
    found = load_tests(
        tests,
        image_root=root,
        limit=config.test_limit,
        seed=SAMPLE_SEED,
        skip_bad_rows=skip,
        only=only,
        checks=list(checks.values()),
    )
    return AxisData(found, train_sources, train)


def _checks(config: ProtocolConfig, axis: AxisPlan, source: str) -> dict[str, PromptCheck]:
    """Return how rows are asked by each method, and by the start model in each zero-shot mode."""
    checks = {}
    for name in dict.fromkeys((*config.methods, *config.zero_shot)):
        method = name if name in config.methods else config.methods[0]
        one = arm_config(config, Arm(axis.name, axis.slices[0], method, config.seeds[0]), source)
        mode = one.mode if name in config.methods else name
        turns = TurnBuilder(prompt_template(mode, one.prompt_template or None), one.image_size)
        checks[name] = PromptCheck(config.model, turns, one.max_completion_tokens)
    return checks


def _try_rewards(
    config: ProtocolConfig, axis: AxisPlan, source: str, examples: Sequence[VQAExample]
) -> None:
    """Call the rewards of each method on the first rows: a mistake would be met in its own run."""
    for method in config.methods:
        one = arm_config(config, Arm(axis.name, axis.slices[0], method, config.seeds[0]), source)
        if one.method == "grpo":
            weights, tables = one.weights_of_rewards, RewardArguments.read(one.reward_arguments)
            with Calls() as calls:
                given: dict[str, Any] = {"arguments": tables.tables, "calls": calls}
                rewards = load_rewards(one.rewards, one.mode, weights=weights, **given)
                try_rewards(rewards, examples, one.mode)


def _check_same_rows(
    split: Split, source: str, root: str | None, checks: Sequence[PromptCheck]
) -> None:
    """Raise if methods would leave out other rows: each run looks for its own prompt's faults."""
    for check in checks:
        own = load_split(
            [source], part="train", image_root=root, skip_bad_rows=True,
            find_faults=Preflight([check]), only=split.only.texts,
        )  # fmt: skip
        if own.left_out != split.left_out:
            rows = list(split.left_out.values())
            raise ValueError(
                f"a row of {source} fits into the model's context under one method's prompt and not"
                f" under another's (of rows {rows[0][:5]} ..): remove it from the file"
            )


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
