"""Train a Qwen2-VL with GRPO (or the supervised baseline) on medical image questions.

    python train.py                                      the embedded model on the embedded data
    python train.py --model DIR --train-json FILE --image-root DIR
    python train.py --resume RUN_DIR
    python train.py --resume auto --output-dir DIR ..    begins, and goes on when started again
    python train.py --check-data ..                      what any of these would ask of which rows
    python train.py --dry-run ..                         what any of these would do and need
    python train.py --protocol FILE.toml                 every method on every slice, and a matrix

The same from Python, with reward functions of your own:

    config = resolve_config({"model": "tiny", "train_json": ["phantoms:CT"]})
    finished = train.run(config, {"short": lambda completion, example, mode: len(completion) < 80})

This file says what a run is made of, in the order in which it is made; grpo/step.py is the
algorithm. What can be wrong in settings and data is told before torch is imported.
"""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.asking.questions import Questions, read_questions, run_template
from evaluation.data_check.check import check_training_data, say_rows
from evaluation.train_command import train_command
from grpo.run import (
    FinishedRun,
    Origin,
    RunDirectory,
    Session,
    checked_sources,
    run_description,
    seeded,
)
from grpo.settings import GRPOConfig, card_for, read_command_line
from process.command import shared_command
from process.ranks import world
from process.signals import end_if_asked
from rewards import REWARDS, ParseOnce, load_rewards, try_rewards
from rewards.bound import BoundReward
from rewards.calls import Calls
from rewards.registry import RewardFn

if TYPE_CHECKING:  # imports torch
    from evaluation.dry_run.dry_run import DryRun
    from evaluation.heldout import HeldOut
    from grpo.trainer import Trainer


@shared_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    return train_command(read_command_line(argv), run, resume, _train)


def run(config: GRPOConfig, reward_fns: Mapping[str, RewardFn] | None = None) -> FinishedRun:
    """Train from the start model to the last step; return what the run has left.

    The one way to start a run, for the command line, a protocol and a notebook, with the same
    checks: of the files that the settings name, and of the output directory, which must be new or
    empty; without one the run gets a fresh one below runs/.

    Args:
        config: the settings. ``grpo.settings.resolve_config({name: value, ..})`` adds what
            belongs to model and data, as the command line does; ``GRPOConfig(..)`` adds nothing.
        reward_fns: reward functions of your own, ``fn(completion, example, mode) -> float`` or
            ``fn(completions, examples, mode) -> list``, by the name that metrics have for them.
            ``config.rewards`` may name them; those that it does not name come last.

    Raises:
        ValueError, OSError: a setting, a file or the data is wrong; the message says what to do.
        FloatingPointError: no update was possible in ``config.max_bad_steps`` steps in a row.
        DeviceMemoryError, MemoryRanOutError: a memory is full; the message names what to lower.
        KeyboardInterrupt: a signal, once the steps that are done are saved.

    Python's, numpy's and torch's global random generators, which a reward may draw from, are seeded
    with ``config.seed``, and afterwards are again where they were.

    Of a run that has begun, a note on whatever is raised (PEP 678) says how to go on.
    """
    origin = Origin.fresh(config, dict(reward_fns or {}))
    directory = RunDirectory.choose(origin.config.output_dir, origin.config.model)
    with directory.owned(), seeded(config.seed):
        return _left_by(_train(origin, directory))


def resume(
    directory: str | Path,
    changes: Mapping[str, Any] | None = None,
    reward_fns: Mapping[str, RewardFn] | None = None,
    *,
    trust_reward_file: bool = False,
    resume_from: str | None = None,
) -> FinishedRun:
    """Go on with a run from a checkpoint of it; return what it has left in the end.

    Args:
        directory: the run's.
        changes: settings by name, of those that cannot change what is learned (``max_steps``,
            ``device``, ..), and new places of files.
        reward_fns: those that `run` was handed.
        trust_reward_file: run the reward files that run.json names wherever they lie; those that
            ``changes`` names need no word.
        resume_from: the checkpoint, such as step-000080, from then on the newest; default: the
            newest.

    Raises:
        ValueError: reward code that nobody trusts, a setting that may not change, a source that is
            not what it was, a damaged checkpoint, a run that another process works on. All else as
            in `run`.
    """
    own, (found, _) = dict(reward_fns or {}), RunDirectory.open(str(directory))
    with found.owned():
        origin = Origin.resumed(
            found, changes or {}, own, known=REWARDS, trusted=trust_reward_file, at=resume_from
        )
        with seeded(origin.config.seed):
            return _left_by(_train(origin, found))


def _left_by(finished: FinishedRun | None) -> FinishedRun:
    assert finished is not None, "only a dry run leaves nothing"
    return finished


def _train(
    origin: Origin, directory: RunDirectory, dry: "DryRun | None" = None
) -> FinishedRun | None:
    """Read data, prompt and rewards, then train, or only look at it."""
    # What is cheap to find comes first: a misspelled reward does not wait for 80,000 rows.
    config, stored = origin.config, origin.stored
    template = run_template(config, stored)
    parse = ParseOnce()  # for rewards, rollout log and metrics
    with Calls(end_if_asked) as calls:  # of asynchronous rewards
        reward_fns = load_rewards(
            *(config.rewards, config.mode, parse, origin.own_rewards, config.weights_of_rewards),
            arguments=origin.reward_arguments.tables,
            calls=calls,
        )
        first_look = partial(try_rewards, reward_fns, mode=config.mode)
        if dry is not None and dry.checks_data:
            check_training_data(config, template, stored, first_look)
            return None
        questions = world().leaders_first(
            "reading the data", lambda: read_questions(config, template, stored, first_look)
        )
        if dry is None:
            say_rows(questions, config.eval_limit)
        with Session(config, directory) as session:
            return _train_on(questions, session, origin, reward_fns, parse, dry)


def _train_on(
    questions: Questions,
    session: Session,
    origin: Origin,
    reward_fns: Mapping[str, BoundReward],
    parse: ParseOnce,
    dry: "DryRun | None",
) -> FinishedRun | None:
    """Ask the machine for what is still open, make the run's parts and set the trainer going."""
    from evaluation.report.outcome import print_outcome
    from grpo.run.room import check_room
    from grpo.settings.deterministic import deterministic
    from grpo.settings.hardware import prepare_device, resolve_hardware

    session.config = config = resolve_hardware(session.config)
    session.contexts.enter_context(deterministic(config))  # before anything is put on a GPU
    directory, template = session.run, questions.turns.template
    checksums = checked_sources(
        config, template, questions.checksums, origin.own_rewards, origin.stored
    )
    total_steps = config.total_steps(questions.num_training)
    origin.check(total_steps)
    if dry is not None and dry.tells_all(config, questions, total_steps):
        return None
    backend = prepare_device(config)
    trainer, heldout = _parts(questions, session, origin.checkpoint, reward_fns, parse)
    if dry is not None:
        dry.try_steps(trainer, heldout)
        return None
    steps = range(trainer.done, total_steps)
    check_room(directory.path, trainer.policy, trainer.optimizer, config, steps)
    facts = {"total_steps": total_steps, "prompt_template": template, "checksums": checksums}
    facts |= {"logprob_backend": backend, **questions.facts, **origin.facts}
    directory.begin(run_description(config, facts, origin.stored, trainer.done), trainer.done)
    trainer.train()

    finished = session.finished()
    print_outcome(finished, config, heldout.predictions if heldout else ())
    return finished


def _parts(
    questions: Questions,
    session: Session,
    checkpoint: Path | None,
    reward_fns: Mapping[str, BoundReward],
    parse: ParseOnce,
) -> "tuple[Trainer, HeldOut | None]":
    """Make the parts of a run, one after the other; return its trainer, and what evaluates it."""
    from evaluation.asking.blind import make_grounding
    from evaluation.heldout import held_out
    from grpo.fitting import TokenBudget
    from grpo.methods import method_of
    from grpo.optimizer import PolicyOptimizer
    from grpo.policies import load_reference, load_trained
    from grpo.run.reference_sync import ReferenceSync
    from grpo.run.trainer_state import first_state
    from grpo.trainer import Trainer

    # A run that goes on has its checkpoint's policy; its reference is the start model still, but
    # where it follows the policy.
    config = session.config
    total_steps = config.total_steps(questions.num_training)
    policy = load_trained(config, checkpoint or config.model)
    optimizer = PolicyOptimizer(policy, config, total_steps)
    state = first_state(checkpoint, optimizer)
    budget = TokenBudget.of(config, state)
    curriculum = questions.curriculum(config, state)
    shown = curriculum or questions.order
    heldout = held_out(config, policy, questions)

    # What one step does is the method's; all else of the loop is the same for all.
    reference = load_reference(config, policy)
    sync = ReferenceSync.of(config, policy, reference, checkpoint)
    take_step = method_of(
        *(config, policy, reference, optimizer, reward_fns, parse, budget),
        total_steps=total_steps,
        grounding=make_grounding(config, parse),
        target=questions.target,
        answers=questions.answers,
        sync=sync,
        curriculum=curriculum,
    )
    session.trainer = Trainer(
        config=config,
        total_steps=total_steps,
        policy=policy,
        optimizer=optimizer,
        example_at=shown.__getitem__,
        replacement_at=shown.replacement,
        encode=questions.encoder(policy, config.max_completion_tokens),
        take_step=take_step,
        sync=sync,
        budget=budget,
        evaluate=heldout,
        run=session.run,
        card=card_for(config, questions.turns.template),
        state=state,
        curriculum=curriculum,
    )
    return session.trainer, heldout


if __name__ == "__main__":
    sys.exit(main())
