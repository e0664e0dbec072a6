"""Scoring one checkpoint on one set of questions: what `evaluate.py` without a subcommand does.

Flags -> questions and how they are asked -> answers, pass after pass -> summary.json. What can be
wrong in flags and files is told before torch is imported, which takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data.options import kept_order_note
from evaluation.answers.identity import ScoreIdentity
from evaluation.answers.kept_fields import kept_fields
from evaluation.answers.prediction import Prediction
from evaluation.answers.unfinished import SETTINGS, unfinished_folder
from evaluation.asked_rows import AskedRows, load_asked_rows
from evaluation.asking.asked_model import AskedModel, asked_model, chosen_device, chosen_dtype
from evaluation.asking.built_in import say_same_names
from evaluation.asking.evaluation_plan import plan_passes
from evaluation.asking.preflight import Preflight, left_out_before, tell_gone_bad
from evaluation.asking.prior_fitting import check_not_asked, fit_priors
from evaluation.asking.resumable import ResumableEvaluation
from evaluation.asking.settings import describe
from evaluation.configs import ScoreConfig
from evaluation.export.evaluators import exported_files
from evaluation.measures.priors import FittedPriors, summarize_priors
from evaluation.measures.sliced import check_by
from evaluation.measures.thought_changes import ThoughtRow
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.report.extra_text import extra_table, images_note, letters_note, unanswered_note
from evaluation.report.summary_text import summary_table
from evaluation.report.thought_text import thought_table
from evaluation.scoring import Scoring
from process.page import fitted
from process.ranks import world

if TYPE_CHECKING:
    import torch

    from models.policy import Policy


class Answered(NamedTuple):
    """What an evaluation has found."""

    summary: dict[str, Any]  # summary.json
    thoughts: Sequence[ThoughtRow]  # rows of thoughts.jsonl
    plain: Sequence[Prediction]  # the answers to the rows as they stand in the data


@dataclass(frozen=True)
class Score:
    """An evaluation with all that its flags ask for beside the accuracy."""

    config: ScoreConfig
    scoring: Scoring
    device: "torch.device"
    priors: FittedPriors | None

    @classmethod
    def prepare(cls, config: ScoreConfig, output: Path) -> "Score":
        """Read and check everything but the weights; nothing is written.

        Raises:
            ValueError, OSError: a file or an image is missing or wrong, a flag cannot be used, or
                what lies at ``output`` is of another evaluation.
        """
        settings = unfinished_folder(output) / SETTINGS
        left_out = world().by_the_first("going on", lambda: left_out_before(settings))
        with world().together("reading the questions"):
            return cls._prepared(config, output, left_out)

    @classmethod
    def _prepared(
        cls, config: ScoreConfig, output: Path, left_out: Mapping[str, list[int]] | None
    ) -> "Score":
        say_same_names([config.checkpoint], (*config.sources, *config.text_prior))
        model = asked_model(config.checkpoint, config.checkpoint, config)
        model.tell_warnings()
        image_root, skips = config.image_root, config.skip_bad_rows
        priors = fit_priors(config.text_prior, image_root, skip_bad_rows=skips, only=config.only)
        preflight = Preflight([model.prompt_check])
        test = load_asked_rows(
            "",
            config.sources,
            preflight,
            image_root=image_root,
            limit=config.limit,
            seed=config.seed,
            skip_bad_rows=skips,
            only=config.only,
            left_out=left_out,
        )
        tell_gone_bad(test.split)
        check_not_asked(priors, test.examples)
        check_by(config.by, [kept_fields(example.fields) for example in test.examples])
        plan = plan_passes(
            test.examples,
            test.split.examples,
            controls=config.single_controls,
            shuffle_within=config.strata,
            permute_options=config.permute_options,
            seed=config.seed,
        )
        if left_out is None:
            preflight.check(plan.images())  # those that controls borrow, too
        device = chosen_device(config.device)
        identity = _identity(config, model, test, device)
        evaluation = ResumableEvaluation(
            plan,
            output,
            identity,
            template=model.settings.prompt_template,
            how_to_go_on=f"the same command with --output-dir {output} goes on",
        )
        scoring = Scoring(model, test, evaluation, config.single_controls, with_letters=True)
        return cls(config, scoring, device, priors)

    def description(self) -> str:
        """Return what will be asked of whom, and how."""
        model, test, evaluation = self.scoring.model, self.scoring.test, self.scoring.evaluation
        total, answers = len(test.split.examples), evaluation.plan.num_questions
        lines = [describe(model.checkpoint, model.settings, model.directory)]
        names = ", ".join(test.sources)
        lines.append(f"{'questions':<16}{len(test.examples):,} of {total:,} in {names}")
        if len(evaluation.plan.passes) > 1:
            lines.append(f"{'answers':<16}{answers:,} in {len(evaluation.plan.passes)} passes")
        if note := test.split.only.note():
            lines.append(f"{'chosen rows':<16}{note}")
        if bad := test.split.bad_rows:
            lines.append(f"{'skipped rows':<16}{len(bad):,}, the first: {bad[0]}")
        if self.config.permute_options is not None and (note := kept_order_note(test.examples)):
            lines.append(f"{'kept order':<16}{note}")
        if done := evaluation.num_answered:
            lines.append(f"{'going on':<16}{done:,} of {answers:,} are answered")
        return "\n".join(lines)

    def ask(self, policy: "Policy") -> Answered | None:
        """Ask what is not answered yet; return what came out in the first of several processes."""
        config, scoring = self.config, self.scoring
        batch_size = scoring.batch_size(policy, config.batch_size)
        scoring.ask(policy, batch_size)
        changes: dict[str, Any] = {}
        rows: Sequence[ThoughtRow] = ()
        if config.thoughts:
            with scoring.evaluation.saying_what_is_kept():  # this part is asked anew
                changes, rows = self._changes(policy, batch_size)
        with world().together("summing up"):
            return self._summed_up(policy, batch_size, changes, rows) if world().is_first else None

    def _summed_up(
        self,
        policy: "Policy",
        batch_size: int,
        changes: dict[str, Any],
        rows: Sequence[ThoughtRow],
    ) -> Answered:
        config, scoring = self.config, self.scoring
        plain, summary = scoring.answers(self.config.by)
        summary["thoughts"] = summarize_thoughts(
            plain,
            scoring.model.settings.mode,
            lambda text: len(policy.processor.encode_completion(text)),
        )
        if changes:
            summary["thoughts"]["teacher_forced"] = changes
        if self.priors is not None:
            summary["text_priors"] = summarize_priors(self.priors, scoring.test.examples, plain)
        summary["evaluation"] = scoring.about(policy, batch_size) | {
            "image_root": config.image_root,
            "shuffle_within": config.shuffle_within,
            "permute_options": config.permute_options,
            "by": list(config.by),
            "text_prior": list(config.text_prior),
            "thoughts": list(config.thoughts),
            "thought_samples": config.thought_samples,
        }
        return Answered(summary, rows, plain)

    def _changes(
        self, policy: "Policy", batch_size: int
    ) -> tuple[dict[str, Any], Sequence[ThoughtRow]]:
        from evaluation.asking.thoughts import SAMPLES, measure_changes

        settings, examples = self.scoring.model.settings, self.scoring.test.examples
        return measure_changes(
            policy,
            examples,
            self.scoring.evaluation.told(len(examples)),
            settings.turn_builder,
            mode=settings.mode,
            changes=self.config.thoughts,
            samples=self.config.thought_samples or SAMPLES,
            max_completion_tokens=settings.max_completion_tokens,
            seed=self.config.seed,
            batch_size=batch_size,
        )

    def write(self, asked: Answered) -> None:
        """Print the tables, make the evaluation's directory, and say what is in it."""
        print(f"\n{self.tables(asked.summary)}\n")
        evaluation = self.scoring.evaluation
        more = exported_files(self.config.export, asked.summary["evaluation"], asked.plain)
        evaluation.write(asked.summary, asked.thoughts, more)
        names = ("summary.json", "predictions.jsonl", *more)
        print(f"written: {', '.join(str(evaluation.output / name) for name in names)}")

    @staticmethod
    def tables(summary: Mapping[str, Any]) -> str:
        """Return the summary as text."""
        texts = (
            summary_table(summary),
            extra_table(summary),
            thought_table(summary["thoughts"]),
            images_note(summary),
            letters_note(summary),
            unanswered_note(summary),
        )
        return "\n\n".join(fitted(text) for text in texts if text)


def _identity(
    config: ScoreConfig, model: AskedModel, test: AskedRows, device: "torch.device"
) -> ScoreIdentity:
    from models.checkpoint.loading import check_dtype

    return ScoreIdentity.of(
        model.settings,
        test,
        model_checksum=model.checksum,
        controls=config.single_controls,
        left_out=test.split.left_out,
        dtype=str(check_dtype(chosen_dtype(config.dtype), device)).removeprefix("torch."),
        image_root=config.image_root,
        shuffle_within=config.shuffle_within,
        permute_options=config.permute_options,
    )
