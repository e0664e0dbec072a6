"""One arm of a protocol: a training run of its own folder, and how far it is.

<output>/runs/<axis>/<slice>/<method>-seed<k>/     a run directory of train.py, and in it
    trained.json      when the last step is done: checksum of the checkpoint, of the examples
    groupwise.json    the checkpoint's: it says how to ask also when the weights are deleted
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.order import ExampleOrder
from data.sources import Split
from evaluation.answers.identity import first_difference
from evaluation.asking.asked_model import AskedModel
from evaluation.asking.settings import resolve_settings
from evaluation.measures.slices import folder_name
from evaluation.protocol.protocol_file import ProtocolConfig, mode_of
from grpo.run.directory import RunDirectory
from grpo.run.provenance import model_checksum
from grpo.run.start_point import checkpoints_of
from grpo.settings.absolute import with_absolute_paths
from grpo.settings.card import CARD
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve_config
from grpo.settings.resuming import RESUMABLE
from process.leftovers import contents
from process.regular import read_text
from process.storage import write_json

NEW, BROKEN, STARTED, TRAINED = "new", "broken", "started", "trained"
_ANEW = "remove that folder to train anew, or name another --output-dir"
_MACHINE = {"output_dir", "device", "dtype", *RESUMABLE} - {"max_steps"}
PLACES = ("model", "train_json", "image_root")  # compared by content: files may have moved


@dataclass(frozen=True)
class Arm:
    """A method on a slice with a seed."""

    axis: str
    slice: str
    method: str
    seed: int

    @property
    def mode(self) -> str:
        """In which it is trained and asked."""
        return mode_of(self.method)

    @property
    def name(self) -> str:
        """For messages, and the folder below runs/.

        >>> Arm("question_type", "Lesion Grading", "think", 0).name
        'question_type/Lesion-Grading/think-seed0'
        """
        return f"{self.axis}/{folder_name(self.slice)}/{self.method}-seed{self.seed}"

    def path(self, output: Path) -> Path:
        """Return its run directory."""
        return output / "runs" / self.name


def arm_settings(config: ProtocolConfig, arm: Arm, source: str) -> dict[str, Any]:
    """Return the settings of train.py for an arm, by field name, the output directory left out."""
    length = {"max_steps": config.steps} if config.steps else {"epochs": config.epochs}
    how = {"method": "sft"} if arm.method == "sft" else {"method": "grpo", "mode": arm.mode}
    root = {"image_root": config.data.image_root} if config.data.image_root else {}
    return {
        "model": config.model,
        "train_json": (source,),
        **root,
        **how,
        **config.settings_of(arm.method),
        **length,
        "seed": arm.seed,
    }


def arm_config(config: ProtocolConfig, arm: Arm, source: str) -> GRPOConfig:
    """Return an arm's validated config.

    Raises:
        ValueError: what GRPOConfig refuses, with the protocol's name.
    """
    try:
        return resolve_config(arm_settings(config, arm, source), None)
    except ValueError as error:
        raise ValueError(f"protocol {config.file}, [settings] of {arm.method}: {error}") from error


def examples_checksum(config: GRPOConfig, split: Split) -> str:
    """Return a SHA-256 of the examples that a run sees, in its order, if rewards choose none."""
    order = ExampleOrder(split.examples, config.seed, config.shuffle_options)
    count = config.total_steps(len(split.examples)) * config.prompts_per_step
    digest = hashlib.sha256()
    for position in range(count):
        example = order[position]
        digest.update(repr((example.id, example.options)).encode())
    return digest.hexdigest()


def chosen_by_rewards(config: GRPOConfig) -> str:
    """Return, as NAME=VALUE, the setting by which a run's own rewards choose its examples.

    Empty where none does: the examples are then known before the run. No two runs with such a
    setting need see the same, as what they have learned differs; nor is there a checksum of them.
    """
    if config.curriculum != "none":
        return f"curriculum={config.curriculum}"
    return f"dynamic_sampling={config.dynamic_sampling}" if config.dynamic_sampling else ""


def find_state(run: Path, total_steps: int) -> str:
    """Return how far a run directory is.

    NEW: nothing is there. BROKEN: it ended before its first whole checkpoint. STARTED: it can be
    resumed. TRAINED: its last step is done.

    Raises:
        ValueError: the folder holds something that is no run.
    """
    if not run.is_dir() or not contents(run):
        return NEW
    if not (run / "run.json").is_file():
        raise ValueError(f"{run} holds files ({contents(run)[0]} ..) and no run: {_ANEW}")
    if (run / "trained.json").is_file():
        return TRAINED
    found = checkpoints_of(run)
    if not found:
        return BROKEN
    return TRAINED if found[-1].name == f"step-{total_steps:06d}" else STARTED


def check_same_run(run: Path, wanted: GRPOConfig, split: Split, start_model: str) -> None:
    """Raise if a run that is there was made with other settings or data than are wanted now.

    Where and on what machine it ran, where its files lay, and how it was saved, is not compared.

    Args:
        run: its directory.
        wanted: the config that it should have.
        split: its training rows.
        start_model: checksum of the model that it should have begun from.

    Raises:
        ValueError: naming the first difference.
    """
    _, description = RunDirectory.open(str(run))
    settings = json.loads(json.dumps(asdict(with_absolute_paths(wanted))))
    now = {name: value for name, value in settings.items() if name not in (*_MACHINE, *PLACES)}
    there = {name: description["config"].get(name) for name in now}
    if found := first_difference(there, now):
        raise ValueError(
            f"run {run} was trained with another {found.name} ({found.there!r} there,"
            f" {found.now!r} now): {_ANEW}"
        )
    files = {"train data": sorted(split.checksums.values()), "start model": [start_model]}
    sums = description["checksums"]
    begun_from = {
        kind: sorted(value for name, value in sums.items() if name.startswith(f"{kind} "))
        for kind in files
    }
    if found := first_difference(begun_from, files):
        raise ValueError(f"the {found.name} of run {run} was another one: {_ANEW}")


def finish(run: Path, total_steps: int, examples: str) -> None:
    """Write trained.json and groupwise.json of a run whose last step is done.

    The optimizer's state, most of a checkpoint's size, goes: no evaluation needs it.

    Args:
        run: its directory.
        total_steps: its last step.
        examples: as `examples_checksum` returns it.
    """
    checkpoint = checkpoint_of(run, total_steps)
    if not (run / "trained.json").is_file():
        shutil.copy(checkpoint / CARD, run / CARD)
        facts = {"step": total_steps, "model_checksum": model_checksum(checkpoint)}
        write_json(run / "trained.json", {**facts, "examples": examples})
    shutil.rmtree(checkpoint / "trainer", ignore_errors=True)


def checkpoint_of(run: Path, total_steps: int) -> Path:
    """Return the last step's checkpoint."""
    return run / "checkpoints" / f"step-{total_steps:06d}"


def asked_arm(arm: Arm, run: Path) -> AskedModel:
    """Return a trained arm as a row of a matrix, also when its weights are deleted."""
    facts = read_trained(run)
    checkpoint = checkpoint_of(run, facts["step"])
    directory = checkpoint if checkpoint.is_dir() else run
    settings = resolve_settings(run)
    return AskedModel(arm.slice, str(checkpoint), directory, settings, facts["model_checksum"])


def read_trained(run: Path) -> dict[str, Any]:
    """Return trained.json.

    Raises:
        ValueError: it cannot be read.
    """
    file = run / "trained.json"
    try:
        facts = json.loads(read_text(file))
        if {"step", "model_checksum", "examples"} - facts.keys():
            raise ValueError("a key is missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read ({error}): {_ANEW}") from error
    return facts


def delete_checkpoints(run: Path) -> None:
    """Remove a trained run's weights; what says how it went stays."""
    shutil.rmtree(run / "checkpoints", ignore_errors=True)


def all_arms(config: ProtocolConfig) -> list[Arm]:
    """Return every arm in the order of work: the first seed of all slices, then the repeats."""
    return [
        Arm(axis.name, name, method, seed)
        for number, seed in enumerate(config.seeds)
        for axis in config.axes
        for name in (axis.train_slices if number == 0 else axis.repeat_slices)
        for method in config.methods
    ]
