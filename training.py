"""One training run, put together: settings, data and rewards -> policy -> grpo.trainer.

train.py reads the first three, so that a mistake in them is told before torch is imported. The
algorithm is in grpo/step.py, the loop around it in grpo/trainer.py.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from data.order import ExampleOrder
from data.prompts import supervised_target
from data.sample import spread_sample
from data.sources import Split
from data.turns import TurnBuilder
from evaluation.asking.batching import questions_at_once
from evaluation.asking.blind import make_grounding
from evaluation.asking.encoding import encode_checked
from evaluation.heldout import HeldOut
from evaluation.report.summary_text import change_table, sample_completions
from evaluation.report.write import report_finished
from grpo.clock import StepClock
from grpo.logprobs.backends import choose_backend
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.run.best import Best
from grpo.run.checkpoint import load_trainer_state, newest_checkpoint
from grpo.run.directory import RunDirectory
from grpo.run.profiler import StepProfiler
from grpo.run.provenance import check_unchanged, run_description, source_checksums
from grpo.run.rollouts import rollout_rows
from grpo.settings.card import start_model
from grpo.settings.config import GRPOConfig
from grpo.settings.hardware import (
    check_memory,
    idle_between_steps,
    keep_freed_memory,
    memory_of_run,
    resolve_hardware,
)
from grpo.settings.moved import names_now
from grpo.sft import sft_step
from grpo.step import train_step
from grpo.trainer import TakenStep, Trainer
from grpo.watch.bad_steps import BadSteps
from models.checkpoint.loading import DTYPES, load_policy
from models.checkpoint.offload import offload_layers
from models.devices import make_current
from models.files import find_checkpoint
from models.policy import Policy
from models.prompts.image_processor import seen_as
from process.called import command_line
from process.page import fitted, fitted_on
from process.threads import say_if_crowded
from rewards.parse_once import ParseOnce


@dataclass
class Session:
    """One run, and what a message about a broken-off one needs to know."""

    config: GRPOConfig
    run: RunDirectory
    trainer: Trainer | None = None

    def way_on(self) -> str:
        """Return what is saved of a run that has begun, and how to go on, to end a message with."""
        if self.trainer is None:
            return ""
        try:
            newest = newest_checkpoint(self.run.path)
        except ValueError:
            if not self.run.path.is_dir():  # it could not be made
                return ""
            return f"\nno step is saved: remove {self.run.path}, and start the run anew"
        done, total = int(newest.name.removeprefix("step-")), self.trainer.total_steps
        command = command_line("train", "--resume", str(self.run.path))
        return f"\n{done:,} of {total:,} steps are saved, go on with: {command}"

    def out_of_memory(self, error: Exception) -> str:
        """Return the message that names what was under way and what to lower."""
        part = self.trainer.under_way if self.trainer else "loading"
        config = self.config
        samples = config.method == "grpo"
        has_reference = samples and config.beta > 0 and config.reference_device != "cpu"
        at_any_time = "lower --micro-batch-tokens"
        at_any_time += "" if config.gradient_checkpointing else ", --gradient-checkpointing"
        at_any_time += ", --reference-device cpu" * has_reference
        anew = f"a smaller --prompts-per-step{', --group-size' * samples} or --image-size"
        anew += "" if config.freeze_vision else ", or --freeze-vision"
        return (
            f"the device is out of memory, during {part} ({str(error).splitlines()[0]}). At any"
            f" time, also with --resume: {at_any_time}. Only in a new run: {anew}"
        )


def train(
    session: Session,
    splits: Mapping[str, Split],
    template: str,
    reward_fns: Mapping[str, Callable[[str, Any], float]],
    parse: ParseOnce,
) -> None:
    """Do all of one run: check what can be checked before weights are loaded, then train.

    Args:
        session: the settings and the directory; it gets the trainer once there is one.
        splits: "train", and "eval" where something is held out.
        template: the prompt's text.
        reward_fns: by the name that metrics call them.
        parse: the parser that they read with.
    """
    session.config = resolve_hardware(session.config)
    config, run = session.config, session.run
    make_current(torch.device(config.device))
    stored = run.read()  # run.json of a resumed run, else None
    train_split, eval_split = splits["train"], splits.get("eval")
    turns = TurnBuilder(template, config.image_size)
    checksums = source_checksums(config, template, {k: v.checksums for k, v in splits.items()})
    if stored:
        check_unchanged(stored["checksums"], checksums, names_now(stored["config"], config))

    if config.device == "cpu":
        keep_freed_memory()
        say_if_crowded()
    else:
        available = torch.cuda.get_device_properties(config.device).total_memory
        warning = check_memory(memory_of_run(config), available)
        if warning:
            print(fitted_on(sys.stderr, f"warning: {warning}"), file=sys.stderr)
    device, dtype = torch.device(config.device), DTYPES[config.dtype]
    backend, why = choose_backend(config.logprob_backend, device, dtype)
    print(f"log-probabilities: backend {backend} ({why})")
    checkpoint = newest_checkpoint(run.path) if stored else None
    start = checkpoint or config.model
    if config.image_size:
        size = f"{config.image_size} x {config.image_size}"
        seen = seen_as(find_checkpoint(start), config.image_size)
        print(fitted(f"images: {size}, seen as {seen}"))
    policy = load_policy(
        start,
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
            batch_size=questions_at_once(
                policy,
                config.image_size,
                config.max_completion_tokens,
                idle_between_steps(config),
            ),
            with_blank=config.eval_blank,
        )

    session.trainer = Trainer(
        config=config,
        total_steps=total_steps,
        policy=policy,
        optimizer=optimizer,
        example_at=order.__getitem__,
        replacement_at=order.replacement,
        encode=lambda example: encode_checked(policy, example, turns, config.max_completion_tokens),
        take_step=_method(config, policy, optimizer, reward_fns, parse),
        evaluate=heldout,
        run=run,
        card=_card(config, template),
        bad_steps=BadSteps.of(config.max_bad_steps, state),
        profiler=_profiler(config, run, state["step"], total_steps),
        start_step=state["step"],
    )
    facts = {
        "total_steps": total_steps,
        "prompt_template": template,
        "checksums": checksums,
        "logprob_backend": {"name": backend, "why": why},
        "id_stems": {part: split.stems for part, split in splits.items()},
        "skipped_rows": {part: len(split.bad_rows) for part, split in splits.items()},
        "left_out": {part: split.left_out for part, split in splits.items()},
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


def _method(
    config: GRPOConfig,
    policy: Policy,
    optimizer: PolicyOptimizer,
    reward_fns: Mapping[str, Callable[[str, Any], float]],
    parse: ParseOnce,
) -> Callable[[PromptBatch, StepClock], TakenStep]:
    """Return what the trainer calls for one step: GRPO's or the supervised baseline's."""

    def supervised(batch: PromptBatch, clock: StepClock) -> TakenStep:
        targets = [supervised_target(example) for example in batch.examples]
        metrics = sft_step(policy, optimizer, batch, targets, config, clock)
        return TakenStep(metrics, samples=len(targets))

    if config.method == "sft":
        return supervised
    reference = _load_reference(config, policy) if config.beta > 0 else None
    grounding = make_grounding(config, parse)

    def grpo(batch: PromptBatch, clock: StepClock) -> TakenStep:
        parse.forget()  # what the last step read
        result = train_step(
            policy, reference, optimizer, batch, reward_fns, config, clock, grounding
        )
        parsed = [
            parse(text, config.mode, example.options)
            for texts, example in zip(result.rollout.texts, batch.examples, strict=True)
            for text in texts
        ]
        choices = [item.choice for item in parsed]
        rows = rollout_rows(result, list(reward_fns), choices)
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
    card = {**{name: getattr(config, name) for name in names}, "prompt_template": template}
    return card | {"start_model": start_model(config.model)}


def _print_outcome(session: Session, heldout: HeldOut | None) -> None:
    trainer, run = session.trainer, session.run
    checkpoint = run.path / "checkpoints" / f"step-{trainer.total_steps:06d}"
    if heldout is not None:
        before, after = run.read_evaluation(0), run.read_evaluation(trainer.total_steps)
        if before and after:
            print("\nheld-out questions, greedy:", change_table(before, after), sep="\n")
        if heldout.predictions:
            shown = "five of them" if len(heldout.predictions) > 5 else "all of them"
            print(f"\n{shown}:", fitted(sample_completions(heldout.predictions)), sep="\n\n")
    if trainer.best is not None:
        print(f"\n{_best_line(trainer.best, run)}")
    parts = ("metrics.jsonl", "rollouts.jsonl", "eval/", "checkpoints/")
    written = ", ".join(name for name in parts if (run.path / name).exists())
    print(f"\nrun directory: {run.path} ({written})")
    config = session.config
    flags = ["--model", str(checkpoint), "--json", *(config.eval_json or config.train_json)]
    if config.image_root:
        flags += ["--image-root", config.image_root]
    if config.skip_bad_rows:
        flags.append("--skip-bad-rows")
    print(f"next: {command_line('evaluate', *flags)}")


def _best_line(best: Best, run: RunDirectory) -> str:
    line = f"best held-out accuracy: {best.accuracy:.1%} at step {best.step}"
    place = run.path / "checkpoints" / f"step-{best.step:06d}"
    return f"{line}, {place if place.is_dir() else 'the start model itself'}"
