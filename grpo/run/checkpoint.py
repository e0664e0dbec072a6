"""Checkpoints: a plain transformers directory, and beside it what training needs to go on.

    checkpoints/step-000100/            loads with from_pretrained, vLLM, TRL
        groupwise.json                  mode, image size, prompt template, limits, method, step
        trainer/optimizer.safetensors   AdamW's moments, float32 masters where weights are not;
                                        over 2 GB, or of several processes, in parts with an index
        trainer/reference.safetensors   with --reference-sync alone: the reference's weights, where
                                        it is neither the start model nor this policy; likewise
        trainer/state.json              step, which is also the position in the data order
        trainer/rng.safetensors         random generators (grpo/run/generators.py), for rewards;
                                        rng-00001.safetensors, .. of further processes
        manifest.json                   all files with size and SHA-256, written last

No pickle anywhere. A checkpoint is written beside its place, flushed to the disk and renamed into
it, so that the newest directory is whole whatever interrupted the run. --save-weights-only leaves
trainer/ out.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint_names import (
    OPTIMIZER,
    REFERENCE,
    STATE,
    checkpoints_of,
    index_of,
    rng_file,
)
from grpo.run.exploded import check_finite_state
from grpo.run.generators import generator_tensors
from grpo.run.room import SHARED, not_written, unfinished
from grpo.run.state_parts import by_name, own_parts, own_pieces
from models.checkpoint.manifest import CARD, TRAINER, FileFacts
from models.checkpoint.parts import Piece, entries_of, merged
from models.checkpoint.saving import save_policy, saved_bytes
from models.checkpoint.sealing import Seal
from models.policy import Policy
from process.disk import make_folder
from process.ranks import world
from process.signals import held
from process.storage import remove_folder, replacing, sweep, write_json


def save_checkpoint(
    run: Path,
    step: int,
    policy: Policy,
    optimizer: PolicyOptimizer,
    *,
    state: Mapping[str, Any],
    card: Mapping[str, Any],
    keep: int,
    best: int | None = None,
    generators: Mapping[str, Tensor] | None = None,
    weights_only: bool = False,
    reference: Mapping[str, Tensor] = MappingProxyType({}),
) -> Path:
    """Write checkpoints/step-<step>, then remove all but the newest ``keep`` and the best.

    Returns the new checkpoint's path. All processes call it: each writes the part of the
    optimizer's state that it has, the first one all else.

    Args:
        run: the run's directory.
        step: steps done so far.
        policy: whose weights are saved, in the dtype that it computes in.
        optimizer: whose state is saved.
        state: what else training needs, as JSON.
        card: groupwise.json, what an evaluation needs to know.
        keep: at least 1.
        best: the step whose checkpoint stays however old it is, if it has one.
        generators: the random generators' states after that step; None: as they are now.
        weights_only: leave out all that a run goes on from.
        reference: weights of the reference that it cannot be made of otherwise.

    Raises:
        ExplodedError: a weight or a moment is NaN or inf; nothing is written.
        OSError: the disk is full or not writable, or the processes do not see one folder. Then, and
            where anything else breaks it off, nothing half-written stays, and no older checkpoint
            was touched.
    """
    sampler = policy.sampler()  # the policy itself, or whole weights that processes have gathered
    states = {} if weights_only else _states(optimizer, reference)
    pieces = {file: own_pieces(tensors) for file, tensors in states.items()}
    older = checkpoints_of(run)
    finite = by_name([*own_pieces(optimizer.weights), *chain(*pieces.values())])
    check_finite_state(step, finite, run, older[-1] if older else None)
    parts_of = {file: own_parts(pieces[file], file) for file in pieces}
    parts = {name: part for parts in parts_of.values() for name, part in parts.items()}
    place, is_first = run / "checkpoints" / f"step-{step:06d}", world().is_first
    needed = saved_bytes(policy) + sum(t.nbytes for ts in states.values() for t in ts.values())
    with held(), ExitStack() as stack:
        with _saving(place, needed):
            folder = _begun(place, stack, "" if weights_only else TRAINER)
        seal = stack.enter_context(Seal(folder))
        with _saving(place, needed):
            if is_first:
                _write_model(seal, folder, sampler, parts, {**card, "step": step})
            if not weights_only:
                random = generators or generator_tensors(policy.device)
                _write_state(seal, folder, parts, random)
            own = {} if is_first else {n: vars(facts) for n, facts in seal.facts().items()}
        told = world().gather([{file: entries_of(parts_of[file]) for file in parts_of}, own])
        with _saving(place, needed):
            if is_first:
                others = _facts_of_others(folder, told)
                if not weights_only:
                    write_json(folder / STATE, {**state, "step": step})
                    for file in states:
                        _write_index(folder, file, [entries[file] for entries, _ in told])
                seal.finish(step, others)
                stack.close()  # renames it into its place
                _remove_old(run, keep, best)
    return place


def _states(
    optimizer: PolicyOptimizer, reference: Mapping[str, Tensor]
) -> dict[str, Mapping[str, Tensor]]:
    """Return what trainer/ holds of tensors, by the file that each state is, if one suffices."""
    of_reference = {REFERENCE: reference} if reference else {}
    return {OPTIMIZER: optimizer.state_tensors(), **of_reference}


@contextmanager
def _saving(place: Path, needed: int) -> Iterator[None]:
    """Do a process's own part of a save: an error of the disk says what to do, in all of them."""
    with world().together("saving"):
        try:
            yield
        except OSError as error:
            raise OSError(not_written(place, error, needed)) from error


def _begun(place: Path, stack: ExitStack, inside: str) -> Path:
    """Return the folder that is written: the first process makes it, and puts it into its place.

    Args:
        place: where that is.
        stack: whose end puts it there.
        inside: a folder that is made in it.
    """
    if not world().is_first:
        return unfinished(place)
    make_folder(place.parent)
    sweep(place.parent)  # of a save that was broken off: it takes as much room
    name = unfinished(place).name
    folder = stack.enter_context(replacing(place, name, to_disk=True, over_folder=True))
    (folder / inside).mkdir(parents=True)
    return folder


def _write_model(
    seal: Seal,
    folder: Path,
    policy: Policy,
    parts: Mapping[str, Sequence[Piece]],
    card: Mapping[str, Any],
) -> None:
    for name, pieces in parts.items():
        seal.hash_ahead(name, by_name(pieces))
    save_policy(policy, folder)
    write_json(folder / CARD, card)
    seal.take()  # hashed while the optimizer is written


def _write_state(
    seal: Seal, folder: Path, parts: Mapping[str, Sequence[Piece]], random: Mapping[str, Tensor]
) -> None:
    if not (folder / TRAINER).is_dir():
        raise OSError(f"process {world().rank} sees no {folder}: {SHARED}")
    for name, pieces in parts.items():
        seal.write_tensors(name, by_name(pieces))
    seal.write_tensors(rng_file(world().rank), random)


def _facts_of_others(folder: Path, told: Sequence[Any]) -> dict[str, FileFacts]:
    """Return what the other processes say of their files, once these are all there."""
    others = {}
    for rank, (_, files) in enumerate(told):
        for name, facts in files.items():
            file, others[name] = folder / name, FileFacts(**facts)
            if not file.is_file() or file.stat().st_size != others[name].size:
                raise OSError(f"{name} of process {rank} is not in {folder}: {SHARED}")
    return others


def _write_index(folder: Path, file: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write which rows stand where, unless all of them stand in one file."""
    if not (folder / file).exists():
        parts = folder.glob(f"{file.removesuffix('.safetensors')}-*")
        write_json(folder / index_of(file), merged(entries, sum(p.stat().st_size for p in parts)))


def _remove_old(run: Path, keep: int, best: int | None) -> None:
    for old in checkpoints_of(run)[:-keep]:
        if best is None or old.name != f"step-{best:06d}":
            remove_folder(old)
