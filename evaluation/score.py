"""Scoring one checkpoint on one set of questions: what `evaluate.py` without a subcommand does.

Flags -> questions and how they are asked -> answers, pass after pass -> summary.json. What can be
wrong in flags and files is told before torch is imported, which takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import VQAExample
from data.options import kept_order_note
from data.sample import spread_sample
from data.sources import Split, Wanted, load_splits
from data.turns import TurnBuilder
from evaluation.answers.controls import check_control
from evaluation.answers.identity import ScoreIdentity
from evaluation.answers.prediction import Prediction
from evaluation.answers.unfinished import SETTINGS, unfinished_folder
from evaluation.asking.answered_by import answered_by
from evaluation.asking.built_in import say_same_names
from evaluation.asking.checkpoint import asking, check_machine, chosen_device, chosen_dtype
from evaluation.asking.passes import Plan, plan_passes, summarize_passes
from evaluation.asking.preflight import Preflight, PromptCheck, left_out_before, tell_gone_bad
from evaluation.asking.resumable import ResumableEvaluation
from evaluation.asking.settings import AskingSettings, describe
from evaluation.measures.priors import Prior, fit_priors, summarize_priors
from evaluation.measures.thought_changes import ThoughtRow
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.report.extra_text import extra_table, images_note, letters_note, unanswered_note
from evaluation.report.summary_text import summary_table
from evaluation.report.thought_text import thought_table
from grpo.run.provenance import model_checksum
from process.page import fitted

if TYPE_CHECKING:
    import torch

    from models.policy import Policy


@dataclass(frozen=True)
class Job:
    """An evaluation that is ready to be asked."""

    model: str  # as it was named
    names: Sequence[str]  # the test files
    given: Mapping[str, Any]  # the flags
    device: "torch.device"
    directory: Path  # the checkpoint's
    checksum: str
    settings: AskingSettings
    turn_builder: TurnBuilder
    split: Split
    examples: Sequence[VQAExample]  # those that are asked
    plan: Plan
    priors: Sequence[Prior]
    evaluation: ResumableEvaluation

    @classmethod
    def prepare(
        cls, model: str, names: Sequence[str], given: Mapping[str, Any], output: Path
    ) -> "Job":
        """Read and check everything but the weights; nothing is written.

        Raises:
            ValueError, OSError: a file or an image is missing or wrong, a flag cannot be used, or
                what lies at ``output`` is of another evaluation.
        """
        check_machine(given)
        for name in given.get("controls", ()):  # before any row is looked at
            check_control(name, given.get("shuffle_within", "modality"))
        say_same_names([model], (*names, *given.get("text_prior", ())))
        directory, settings, turn_builder = asking(model, given)
        image_root, skips = given.get("image_root"), given.get("skip_bad_rows", False)
        priors = fit_priors(given.get("text_prior", ()), image_root, skip_bad_rows=skips)
        check = PromptCheck(directory, turn_builder, settings.max_completion_tokens)
        preflight = Preflight([check])
        sample = partial(spread_sample, limit=given.get("limit"), seed=given.get("seed", 0))
        left_out = left_out_before(unfinished_folder(output) / SETTINGS)
        find_faults = preflight if skips else preflight.of_sample(sample)
        wanted = Wanted(names, find_faults, left_out)
        split = load_splits({"eval": wanted}, image_root=image_root, skip_bad_rows=skips)["eval"]
        tell_gone_bad(split)
        examples = sample(split.examples)
        plan = plan_passes(
            examples,
            split.examples,
            controls=given.get("controls", ()),
            shuffle_within=given.get("shuffle_within", "modality"),
            permute_options=given.get("permute_options"),
            seed=given.get("seed", 0),
        )
        if left_out is None:
            preflight.check(plan.images())  # those that controls borrow, too
        device = chosen_device(given)
        checksum = model_checksum(directory)
        evaluation = ResumableEvaluation(
            plan,
            output,
            _identity(given, settings, checksum, split, device),
            template=settings.prompt_template,
            how_to_go_on=f"the same command with --output-dir {output} goes on",
        )
        return cls(model, names, given, device, directory, checksum, settings, turn_builder, split,
                   examples, plan, priors, evaluation)  # fmt: skip

    def description(self) -> str:
        """Return what will be asked of whom, and how."""
        total, answers = len(self.split.examples), self.plan.num_questions
        lines = [describe(self.model, self.settings, self.directory)]
        lines.append(
            f"{'questions':<16}{len(self.examples):,} of {total:,} in {', '.join(self.names)}"
        )
        if len(self.plan.passes) > 1:
            lines.append(f"{'answers':<16}{answers:,} in {len(self.plan.passes)} passes")
        if bad := self.split.bad_rows:
            lines.append(f"{'skipped rows':<16}{len(bad):,}, the first: {bad[0]}")
        if "permute_options" in self.given and (note := kept_order_note(self.examples)):
            lines.append(f"{'kept order':<16}{note}")
        if done := self.evaluation.num_answered:
            lines.append(f"{'going on':<16}{done:,} of {answers:,} are answered")
        return "\n".join(lines)

    def ask(self, policy: "Policy") -> tuple[dict[str, Any], Sequence[ThoughtRow]]:
        """Ask what is not answered yet; return the summary and the rows of thoughts.jsonl."""
        from evaluation.asking.asker import Asker
        from evaluation.asking.batching import batch_size_of

        settings = self.settings
        batch_size = batch_size_of(
            self.given.get("batch_size"), policy, settings, with_letters=True
        )
        asker = Asker(
            policy,
            self.turn_builder,
            mode=settings.mode,
            max_completion_tokens=settings.max_completion_tokens,
            with_letters=True,
        )
        self.evaluation.run(asker, batch_size)
        predictions = self.evaluation.predictions()
        plain = predictions[: len(self.examples)]
        summary = summarize_passes(self.plan, predictions)
        summary["thoughts"] = summarize_thoughts(
            plain, settings.mode, lambda text: len(policy.processor.encode_completion(text))
        )
        swaps: Sequence[ThoughtRow] = ()
        if "thoughts" in self.given:
            with self.evaluation.saying_what_is_kept():  # this part is asked anew
                summary["thoughts"]["teacher_forced"], swaps = self._changes(
                    policy, plain, batch_size
                )
        if self.priors:
            summary["text_priors"] = summarize_priors(self.priors, self.examples, plain)
        summary["evaluation"] = self._about(policy, batch_size)
        return summary, swaps

    def _changes(
        self, policy: "Policy", plain: Sequence[Prediction], batch_size: int
    ) -> tuple[dict[str, Any], Sequence[ThoughtRow]]:
        from evaluation.asking.thoughts import measure_changes

        return measure_changes(
            policy,
            self.examples,
            plain,
            self.turn_builder,
            mode=self.settings.mode,
            changes=self.given["thoughts"],
            samples=self.given.get("thought_samples", 4),
            max_completion_tokens=self.settings.max_completion_tokens,
            seed=self.given.get("seed", 0),
            batch_size=batch_size,
        )

    def _about(self, policy: "Policy", batch_size: int) -> dict[str, Any]:
        given = self.given
        return {
            "model": self.model,
            **answered_by(self.directory, self.checksum, policy),
            **self.settings.to_json(),
            "data": {
                "checksums": self.split.checksums,
                "skipped_rows": len(self.split.bad_rows),
                "limit": given.get("limit"),
                "seed": given.get("seed", 0),
            },
            "batch_size": batch_size,
            "controls": list(given.get("controls", ())),
            "shuffle_within": given.get("shuffle_within"),
            "permute_options": given.get("permute_options"),
            "text_prior": list(given.get("text_prior", ())),
            "thoughts": list(given.get("thoughts", ())),
            "thought_samples": given.get("thought_samples"),
        }

    @staticmethod
    def tables(summary: Mapping[str, Any]) -> str:
        """Return the summary as text."""
        texts = (summary_table(summary), extra_table(summary))
        texts += (thought_table(summary["thoughts"]), images_note(summary), letters_note(summary))
        texts += (unanswered_note(summary),)
        return "\n\n".join(fitted(text) for text in texts if text)


def _identity(
    given: Mapping[str, Any],
    settings: AskingSettings,
    checksum: str,
    split: Split,
    device: "torch.device",
) -> ScoreIdentity:
    from models.checkpoint.loading import check_dtype

    return ScoreIdentity.of(
        settings,
        model_checksum=checksum,
        checksums=split.checksums,
        limit=given.get("limit"),
        seed=given.get("seed", 0),
        skipped_rows=len(split.bad_rows),
        controls=given.get("controls", ()),
        left_out=split.left_out,
        dtype=str(check_dtype(chosen_dtype(given), device)).removeprefix("torch."),
        image_root=given.get("image_root"),
        shuffle_within=given.get("shuffle_within"),
        permute_options=given.get("permute_options"),
    )
