"""The outer loop around a step: data in, metrics, rollouts, evaluations and checkpoints out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from grpo.clock import StepClock
from grpo.curriculum import StepObserver
from grpo.fitting import TokenBudget
from grpo.methods import TakenStep, TakeStep
from grpo.optimizer import PolicyOptimizer
from grpo.prefetch import BatchLoader
from grpo.rollout import PromptBatch, sample_rollout
from grpo.run.best import Best, find_best, write_best
from grpo.run.checkpoint import save_checkpoint
from grpo.run.directory import RunDirectory
from grpo.run.exploded import ExplodedError
from grpo.run.generators import generator_tensors
from grpo.run.profiler import StepProfiler
from grpo.run.reference_sync import ReferenceSync
from grpo.run.save_pace import SavePace
from grpo.settings.config import GRPOConfig
from grpo.step_log import StepLog, bar_text
from grpo.watch.bad_steps import BadSteps
from grpo.watch.every_step import StepWatch
from grpo.watch.verify import verify_prefix
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.allocator import give_back_freed_memory
from process.bars import bar, warn
from process.ranks import world
from process.signals import end_if_asked, held, interruptible


@dataclass
class Trainer:
    """One run. `train` is the loop; everything it needs to know stands in these fields.

    Of several processes each runs the same loop; the first one's run directory alone is written to,
    and what is read there is the first one's word.
    """

    config: GRPOConfig
    total_steps: int
    policy: Policy
    optimizer: PolicyOptimizer
    example_at: Callable[[int], Any]  # position in the run's data order -> example
    replacement_at: Callable[[int, int], Any]  # (position, attempt) -> one to take instead
    encode: Callable[[Any], EncodedPrompt]
    take_step: TakeStep
    budget: TokenBudget  # that take_step cuts by
    evaluate: Callable[[Policy, int], Mapping[str, Any]] | None
    run: RunDirectory
    card: Mapping[str, Any]  # groupwise.json
    state: Mapping[str, Any]  # of the checkpoint that the run goes on from: state.json
    curriculum: StepObserver | None = None  # of example_at, if it has one
    under_way: str = "loading"  # the part of the run, for the message of an out-of-memory error
    sync: ReferenceSync | None = None  # that take_step begins with: what it holds is saved
    best: Best | None = None  # of the evaluations so far
    done: int = field(init=False)  # steps, those of before a resumption included
    bad_steps: BadSteps = field(init=False)
    profiler: StepProfiler | None = field(init=False)
    _saved: int = field(init=False)  # steps done when the newest checkpoint was written
    _pace: SavePace = field(init=False)  # of saving
    _batches: BatchLoader = field(init=False)
    # steps done when the step in work began, and the random generators' states then
    _began: tuple[int, Mapping[str, Tensor]] = field(init=False, default=(-1, {}))

    def __post_init__(self) -> None:
        self.done = self._saved = self.state["step"]
        self._pace = SavePace(self.config.save_every)
        self.bad_steps = BadSteps.of(self.config.max_bad_steps, self.state)
        self.profiler = StepProfiler.of(self.config, self.run.path, self.done, self.total_steps)

    @interruptible()
    def train(self) -> None:
        """Run from ``done`` to the last step; evaluate and save on the way and at the end.

        Whatever breaks it off, the steps that were done are saved first. A signal drops the step
        in work, or waits for its end once its update is begun; an error among moving weights leaves
        them neither old nor new, and only they are not saved.

        Raises:
            FloatingPointError: no update was possible in --max-bad-steps steps in a row.
        """
        self._find_best()
        if self.done > 0:
            self._record_best()  # evaluations may have been cut
        log = self._log()
        due = self.done == 0 or self._is_due(self.config.eval_every)
        if due and self.run.read_evaluation(self.done) is None:  # or it was broken off right there
            self._evaluate()
            self._record_best()  # no checkpoint: the start model, or the one this run goes on from
        if self.config.verify_prefix and self.done < self.total_steps:
            self._verify_prefix(self.done)
        with (
            bar(total=self.total_steps, initial=self.done, unit="step") as steps,
            self._loader(range(self.done, self.total_steps)) as self._batches,
        ):
            try:
                while self.done < self.total_steps:
                    step = self.done  # counted from 0
                    with held(self._has_begun_update), world().exchanging():
                        taken, times, batch = self._one_step(step)
                    self.done = step + 1
                    metrics = self._record(log, taken, times, batch)
                    self.optimizer.end_step()
                    if self.bad_steps.are_too_many:
                        place = self._save()
                        raise FloatingPointError(self.bad_steps.stop_message(self.done, place))
                    steps.set_postfix_str(bar_text(metrics), refresh=False)
                    steps.update()
                    if self._is_due(self.config.eval_every):
                        self._evaluate()
                    if self._is_save_due():
                        self._save()
            except (Exception, KeyboardInterrupt) as error:
                halfway = self.optimizer.has_moved and self.done == step
                if self.done > self._saved and not halfway and world().all_know(error):
                    self._save_after(error)
                raise

    @interruptible()
    def try_steps(self, count: int) -> list[dict[str, float]]:
        """Return the times of the next steps, taken without a record: of a dry run."""
        steps, times = range(self.done, self.done + count), []
        with self._loader(steps) as self._batches:
            for step in steps:
                _, taken, _ = self._one_step(step)
                self.optimizer.end_step()
                self.policy.sampler()
                times.append(taken)
        return times

    def _log(self) -> StepLog:
        watch = StepWatch(self.config, self.policy.sampler(), self.run.read_metrics())
        return StepLog(self.run, self.bad_steps, watch, self.profiler)

    def _record(
        self, log: StepLog, taken: TakenStep, times: dict[str, float], batch: PromptBatch
    ) -> dict[str, Any]:
        """Write down the step that is over; return its line of metrics.jsonl."""
        self.policy.sampler()  # what looks at the step may run it
        skipped = self.optimizer.has_skipped
        return log.record(self.done, taken, times, batch, skipped=skipped)

    def _has_begun_update(self) -> bool:
        return self.optimizer.has_moved or self.optimizer.has_skipped

    def _loader(self, steps: range) -> BatchLoader:
        parts = self.example_at, self.replacement_at, self.encode
        return BatchLoader(*parts, self.config.prompts_per_step, steps, self.state)

    def _verify_prefix(self, step: int) -> None:
        self.under_way = "comparing with transformers (--verify-prefix)"
        with self._loader(range(step, step + 1)) as batches:
            batch = batches.batch(step)
        sampling, backend = self.config.sampling, self.config.logprob_backend
        sampler = self.policy.sampler()  # as the step will
        rollout = sample_rollout(sampler, batch, sampling, backend=backend)
        report = verify_prefix(self.policy, rollout, self.config)
        print(report)
        report.check_weights(self.policy.path)

    def _one_step(self, step: int) -> tuple[TakenStep, dict[str, float], PromptBatch]:
        """Take step number ``step``, counted from 0; return it, its times and what it was about."""
        if self.profiler is not None:
            self.profiler.start_step(step + 1)
        clock = StepClock(self.policy.device, on_part=self._begin_part)
        batch = self._batches.batch(step)
        for text in batch.redrawn:
            warn(f"step {step + 1}: {text}")
        clock.lap("data")
        self._began = step, generator_tensors(self.policy.device)
        self.optimizer.start_step(step)
        taken = self.take_step(batch, clock)
        return taken, clock.metrics(), taken.about(batch)

    def _begin_part(self, part: str) -> None:
        end_if_asked()
        self.under_way = world().part = part
        if self.profiler is not None:
            self.profiler.part(part)

    def _is_due(self, every: int) -> bool:
        return self.done == self.total_steps or (every > 0 and self.done % every == 0)

    def _is_save_due(self) -> bool:
        is_best = self.best is not None and self.best.step == self.done
        return self.done == self.total_steps or self._pace.is_due(self.done) or is_best

    def _evaluate(self) -> None:
        if self.evaluate is not None:
            self.under_way = "evaluation"
            summary = self.evaluate(self.policy.sampler(), self.done)
            self.run.write_evaluation(self.done, summary)
            self._find_best()

    def _find_best(self) -> None:
        def as_told() -> dict[str, Any] | None:
            found = find_best(self.run.path)
            return None if found is None else asdict(found)

        told = world().by_the_first("reading evaluations", as_told)
        self.best = None if told is None else Best(**told)

    def _record_best(self) -> None:
        best = self.best
        world().by_the_first("writing best.json", lambda: write_best(self.run.path, best))

    def _save_after(self, error: BaseException) -> None:
        """Save what was done before an error or a signal, unless its weights are the error's cause.

        Raises:
            ExplodedError: they are not finite; beside a signal that is a note on it.
        """
        part = self.under_way
        try:
            self._save()
            self.under_way = part  # where the error was, for its message
        except ExplodedError as exploded:
            if not isinstance(error, KeyboardInterrupt):
                raise
            error.add_note(str(exploded))

    @held()
    def _save(self) -> Path:
        self.under_way = "saving"
        self._saved = self.done  # also when it fails: it would fail again
        begun, generators = self._began  # a step that was dropped may have drawn from them
        position = self._batches.state(self.done)
        further = {} if self.curriculum is None else self.curriculum.state(self.done)
        self.run.lines_to_disk()  # before the checkpoint that counts their steps
        with world().exchanging():
            place = save_checkpoint(
                self.run.path,
                self.done,
                self.policy,
                self.optimizer,
                state={
                    "bad_steps": self.bad_steps.state,
                    **self.budget.state,
                    **position,
                    **further,
                },
                card=self.card,
                keep=self.config.keep_checkpoints,
                best=None if self.best is None else self.best.step,
                generators=generators if begun == self.done else None,
                weights_only=self.config.save_weights_only,
                reference={} if self.sync is None else self.sync.tensors(self.done),
            )
        self._pace.saved()
        self._record_best()  # only now: it never names a checkpoint that is not there
        give_back_freed_memory()  # the tensors' copies, and what batches of other shapes left
        return place
