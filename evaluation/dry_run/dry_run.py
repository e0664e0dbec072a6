"""A run that is looked at and not started: nothing is written, whatever is found."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.asking.batching import most_images
from evaluation.asking.questions import Questions
from evaluation.data_check.check import lengths_of
from evaluation.data_check.summary import all_lines
from evaluation.dry_run.needs import disk_lines, memory_lines, step_lines
from evaluation.dry_run.settings_lines import settings_lines
from evaluation.dry_run.trial import say_times
from evaluation.heldout import HeldOut
from grpo.settings.config import GRPOConfig
from grpo.trainer import Trainer

NOTHING_WRITTEN = "dry run: nothing was written"


@dataclass(frozen=True)
class DryRun:
    """What is asked of it."""

    origins: Mapping[str, str]  # setting -> where its value comes from; others are defaults
    trial_steps: int = 0  # to take, on the real model and data
    done: int = 0  # steps of a run that goes on
    checks_data: bool = False  # only looks at the data

    def tells_all(self, config: GRPOConfig, questions: Questions, total_steps: int) -> bool:
        """Print settings, data, memory, steps and disk; return whether that is all.

        Args:
            config: with everything definite.
            questions: of the run.
            total_steps: of the whole run.
        """
        lengths = lengths_of(questions.splits, questions.preflight)
        longest = max(found.longest for found in lengths.values()) or None
        rows = [example for split in questions.splits.values() for example in split.examples]
        parts = (
            settings_lines(config, self.origins),
            all_lines(questions.splits, lengths, config.eval_limit),
            memory_lines(config, longest, most_images(rows)),
            step_lines(config, questions.num_training, self.done, total_steps),
            disk_lines(config, self.done, total_steps),
        )
        print("\n\n".join("\n".join(lines) for lines in parts))
        return not self.trial_steps

    def try_steps(self, trainer: Trainer, heldout: HeldOut | None) -> None:
        """Take the trial steps, and print what they say of the run's time."""
        say_times(trainer, heldout, self.trial_steps)
