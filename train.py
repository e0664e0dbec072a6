"""Train a Qwen2-VL with GRPO (or the supervised baseline) on medical image questions.

    python train.py                                      the embedded model on the embedded data
    python train.py --model DIR --train-json FILE --image-root DIR
    python train.py --resume RUN_DIR
    python train.py --protocol FILE.toml                 every method on every slice, and a matrix

This file puts a run together: flags -> config -> data, rewards, policy -> grpo.trainer. The
algorithm is in grpo/step.py, the loop around it in grpo/trainer.py.
"""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from data.examples import VQAExample
from data.images import check_images
from data.order import ExampleOrder
from data.prompts import prompt_template, supervised_target
from data.sample import spread_sample
from data.sources import Split, load_split
from data.turns import TurnBuilder
from evaluation.encoding import encode_checked
from evaluation.grounding import make_grounding
from evaluation.heldout import HeldOut
from evaluation.protocol.command import protocol_command
from evaluation.report.write import report_finished
from evaluation.tables import change_table, sample_completions
from grpo.best import Best
from grpo.checkpoint import load_trainer_state, newest_checkpoint
from grpo.checks import GapAlarm
from grpo.clock import StepClock
from grpo.config import GRPOConfig
from grpo.flags import FlagParser, add_config_flags
from grpo.hardware import (
    check_memory,
    keep_freed_memory,
    memory_of_run,
    resolve_hardware,
)
from grpo.logprobs.backends import choose_backend
from grpo.optimizer import PolicyOptimizer
from grpo.profiler import StepProfiler
from grpo.provenance import check_unchanged, run_description, source_checksums
from grpo.rollout import PromptBatch
from grpo.rollout_log import rollout_rows
from grpo.run_directory import RunDirectory
from grpo.settings import (
    GRPO_ONLY,
    embedded_default,
    read_toml,
    resolve_config,
    resumed_config,
    uses_embedded_default,
    with_absolute_paths,
)
from grpo.sft import sft_step
from grpo.step import train_step
from grpo.trainer import TakenStep, Trainer
from models.loading import DTYPES, load_policy
from models.offload import offload_layers
from models.policy import Policy
from rewards.parsing import ParsedCompletion, parse_completion
from rewards.registry import load_rewards


@dataclass
class Session:
    """What a message about a broken-off run needs to know."""

    config: GRPOConfig
    run: RunDirectory
    trainer: Trainer | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    given = vars(_parser().parse_args(argv))
    protocol = given.pop("protocol", None)
    if protocol is not None:
        given = {name: value for name, value in given.items() if value is not None}
        return protocol_command(protocol, given, train=main)
    config_file, resume = given.pop("config", None), given.pop("resume", None)
    session = None
    try:
        if resume is None:
            session = _fresh(given, config_file)
        elif config_file is None:
            session = _resumed(resume, given)
        else:
            raise ValueError("--config cannot be given with --resume: run.json has the settings")
        train(session)
    except KeyboardInterrupt:
        print(f"\ninterrupted{_way_on(session)}", file=sys.stderr)
        return 130
    except torch.OutOfMemoryError as error:
        print(f"error: {_out_of_memory(error, session)}{_way_on(session)}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"error: {error}{_way_on(session)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> FlagParser:
    parser = FlagParser(
        prog="train.py",
        description="Train a Qwen2-VL on medical image questions with GRPO. Without a flag: the"
        " embedded model on the embedded data, with the settings of configs/phantoms.toml.",
    )
    parser.add_argument("--config", metavar="FILE.toml", help="settings by name; flags go on top")
    parser.add_argument(
        "--resume", metavar="RUN_DIR", help="go on in this directory, from its newest checkpoint"
    )
    parser.add_argument(
        "--protocol",
        metavar="FILE.toml",
        help="run a whole protocol (docs/protocol.md); beside it only --output-dir, --device and"
        " --dtype",
    )
    add_config_flags(parser)
    return parser


def _fresh(given: Mapping[str, Any], config_file: str | None) -> Session:
    config = resolve_hardware(resolve_config(given, config_file))
    chosen = (read_toml(config_file)[0] if config_file is not None else {}) | given
    if uses_embedded_default(chosen):
        shipped, _ = read_toml(embedded_default())
        used = [name for name in shipped if config.method == "grpo" or name not in GRPO_ONLY]
        values = ", ".join(f"{name} {getattr(config, name)}" for name in used)
        print(f"the embedded default, configs/phantoms.toml with your settings on top: {values}")
    run = RunDirectory.choose(config.output_dir, config.model)
    return Session(with_absolute_paths(config), run)


def _resumed(path: str, given: Mapping[str, Any]) -> Session:
    run, stored = RunDirectory.open(path)
    return Session(resolve_hardware(resumed_config(stored["config"], given)), run)


def train(session: Session) -> None:
    """Do all of one run: check what can be checked before weights are loaded, then train."""
    config, run = session.config, session.run
    stored = run.read()  # run.json of a resumed run, else None
    train_split = _read_split(config.train_json, "train", config)
    eval_split = _read_split(config.eval_json, "eval", config) if config.eval_json else None
    template = stored["prompt_template"] if stored else _template(config)
    turns = TurnBuilder(template, config.image_size)
    reward_fns = load_rewards(config.rewards, config.mode)
    splits = {"train": train_split} | ({"eval": eval_split} if eval_split else {})
    checksums = source_checksums(config, template, {k: v.checksums for k, v in splits.items()})
    if stored:
        check_unchanged(stored["checksums"], checksums)

    if config.device == "cpu":
        keep_freed_memory()
    else:
        available = torch.cuda.get_device_properties(config.device).total_memory
        warning = check_memory(memory_of_run(config), available)
        if warning:
            print(f"warning: {warning}", file=sys.stderr)
    device, dtype = torch.device(config.device), DTYPES[config.dtype]
    backend, why = choose_backend(config.logprob_backend, device, dtype)
    print(f"log-probabilities: backend {backend} ({why})")
    checkpoint = newest_checkpoint(run.path) if stored else None
    policy = load_policy(
        checkpoint or config.model,
        dtype=config.dtype,
        device=config.device,
        freeze_vision=config.freeze_vision,
        gradient_checkpointing=bool(config.gradient_checkpointing),
    )
    order = ExampleOrder(train_split.examples, config.seed, config.shuffle_options)
    total_steps = config.total_steps(len(train_split.examples))
    optimizer = PolicyOptimizer(policy, config, total_steps)
    state = load_trainer_state(checkpoint, optimizer) if checkpoint else {"step": 0}
    if state["step"] > total_steps:
        raise ValueError(
            f"--max-steps {total_steps} is less than the {state['step']} steps that are done: give"
            " at least as many"
        )
    heldout = None
    if eval_split:
        sample = spread_sample(eval_split.examples, config.eval_limit or None, config.seed)
        heldout = HeldOut(
            sample,
            turns,
            config.mode,
            config.max_completion_tokens,
            batch_size=config.completions_per_step,
            with_blank=config.eval_blank,
        )

    session.trainer = Trainer(
        config=config,
        total_steps=total_steps,
        policy=policy,
        optimizer=optimizer,
        example_at=order.__getitem__,
        encode=lambda example: encode_checked(policy, example, turns, config.max_completion_tokens),
        take_step=_method(config, policy, optimizer, reward_fns),
        evaluate=heldout,
        run=run,
        card=_card(config, template),
        alarm=GapAlarm(policy.dtype, state.get("first_gap_means")),
        profiler=_profiler(config, run, state["step"], total_steps),
        start_step=state["step"],
    )
    facts = {
        "total_steps": total_steps,
        "prompt_template": template,
        "checksums": checksums,
        "logprob_backend": {"name": backend, "why": why},
        "skipped_rows": {part: len(split.bad_rows) for part, split in splits.items()},
    }
    if stored is None:
        run.make()
    else:
        run.cut_after(state["step"])
        print(f"resumed after step {state['step']}; the learning rate follows {total_steps} steps")
    run.write(run_description(config, facts, stored, state["step"]))
    print(f"run directory: {run.path}")
    session.trainer.train()
    _print_outcome(session, heldout)
    report_finished(run.path)


def _read_split(names: Sequence[str], part: Any, config: GRPOConfig) -> Split:
    split = load_split(
        names,
        part=part,
        image_root=config.image_root or None,
        skip_bad_rows=config.skip_bad_rows,
    )
    if split.bad_rows:
        print(f"{part}: {len(split.bad_rows)} bad rows skipped, the first: {split.bad_rows[0]}")
    check_images(split.examples)
    return split


def _template(config: GRPOConfig) -> str:
    return prompt_template(config.mode, config.prompt_template or None)


def _method(
    config: GRPOConfig,
    policy: Policy,
    optimizer: PolicyOptimizer,
    reward_fns: Mapping[str, Callable[[str, Any], float]],
) -> Callable[[PromptBatch, StepClock], TakenStep]:
    """Return what the trainer calls for one step: GRPO's or the supervised baseline's."""

    def supervised(batch: PromptBatch, clock: StepClock) -> TakenStep:
        targets = [supervised_target(example) for example in batch.examples]
        metrics = sft_step(policy, optimizer, batch, targets, config, clock)
        return TakenStep(metrics, samples=len(targets))

    if config.method == "sft":
        return supervised
    reference = _load_reference(config, policy) if config.beta > 0 else None
    grounding = make_grounding(config)

    def parse(text: str, example: VQAExample) -> ParsedCompletion:
        return parse_completion(text, config.mode, example.options)

    def grpo(batch: PromptBatch, clock: StepClock) -> TakenStep:
        result = train_step(
            policy, reference, optimizer, batch, reward_fns, config, clock, grounding
        )
        parsed = [
            parse(text, example)
            for texts, example in zip(result.rollout.texts, batch.examples, strict=True)
            for text in texts
        ]
        choices = [item.choice for item in parsed]
        rows = rollout_rows(result, list(reward_fns), config.weights_of_rewards, choices)
        well_formed = sum(item.well_formed for item in parsed) / len(parsed)
        metrics = {**result.metrics, "well_formed": well_formed}
        return TakenStep(metrics, len(parsed), list(rows), result.rollout, well_formed)

    return grpo


def _load_reference(config: GRPOConfig, policy: Policy) -> Policy:
    """Return the frozen start model of the KL term, which shares a frozen vision tower."""
    reference = load_policy(config.model, dtype=config.dtype, device=config.reference_device)
    reference.requires_grad_(False)
    if config.reference_device != config.device:
        offload_layers(reference, torch.device(config.device))
    else:
        reference.share_vision(policy)
    return reference


def _profiler(
    config: GRPOConfig, run: RunDirectory, start_step: int, total_steps: int
) -> StepProfiler | None:
    if not config.profile:
        return None
    return StepProfiler(run.path / "profile", torch.device(config.device), start_step, total_steps)


def _card(config: GRPOConfig, template: str) -> dict[str, Any]:
    """Return groupwise.json: what an evaluation of a checkpoint has to know."""
    names = ("mode", "image_size", "max_completion_tokens", "method")
    return {**{name: getattr(config, name) for name in names}, "prompt_template": template}


def _print_outcome(session: Session, heldout: HeldOut | None) -> None:
    trainer, run = session.trainer, session.run
    checkpoint = run.path / "checkpoints" / f"step-{trainer.total_steps:06d}"
    if heldout is not None:
        before, after = run.read_evaluation(0), run.read_evaluation(trainer.total_steps)
        if before and after:
            print("\nheld-out questions, greedy:", change_table(before, after), sep="\n")
        if heldout.predictions:
            print("\nfive of them:", sample_completions(heldout.predictions), sep="\n\n")
    if trainer.best is not None:
        print(f"\n{_best_line(trainer.best, run)}")
    print(f"\nrun directory: {run.path} (metrics.jsonl, rollouts.jsonl, eval/, checkpoints/)")
    command = ["python", "evaluate.py", "--model", str(checkpoint), "--json"]
    command += session.config.eval_json or session.config.train_json
    if session.config.image_root:
        command += ["--image-root", session.config.image_root]
    print(f"next: {shlex.join(command)}")


def _best_line(best: Best, run: RunDirectory) -> str:
    line = f"best held-out accuracy: {best.accuracy:.1%} at step {best.step}"
    place = run.path / "checkpoints" / f"step-{best.step:06d}"
    return f"{line}, {place if place.is_dir() else 'the start model itself'}"


def _way_on(session: Session | None) -> str:
    """Return how to go on with a run that has a checkpoint, to end a message with."""
    if session is None or session.trainer is None:
        return ""
    try:
        newest_checkpoint(session.run.path)
    except ValueError:
        return ""
    command = ["python", "train.py", "--resume", str(session.run.path)]
    return f"\ngo on with: {shlex.join(command)}"


def _out_of_memory(error: Exception, session: Session | None) -> str:
    part = session.trainer.under_way if session and session.trainer else "loading"
    return (
        f"the device is out of memory, during {part} ({str(error).splitlines()[0]}). Lower"
        " --micro-batch-tokens, --prompts-per-step, --group-size or --image-size; keep"
        " --gradient-checkpointing on; --reference-device cpu; --freeze-vision"
    )


if __name__ == "__main__":
    sys.exit(main())
