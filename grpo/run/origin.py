"""What a run begins with: settings, reward functions; of one that goes on what it has left, too."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grpo.run.directory import RunDirectory
from grpo.run.provenance import check_unchanged_rewards
from grpo.run.start_point import check_resumable, checkpoint_to_resume
from grpo.settings.absolute import with_absolute_paths
from grpo.settings.config import GRPOConfig
from grpo.settings.resuming import config_to_resume
from grpo.settings.reward_arguments import RewardArguments
from grpo.settings.reward_code import check_trusted, with_rewards


@dataclass(frozen=True)
class Origin:
    """Of a fresh run settings and functions are all."""

    config: GRPOConfig
    own_rewards: Mapping[str, Callable]  # handed in, by name
    stored: Mapping[str, Any] | None = None  # run.json of a run that goes on
    checkpoint: Path | None = None  # from which it does

    @cached_property
    def reward_arguments(self) -> RewardArguments:
        """What the file of reward arguments says, read once."""
        return RewardArguments.read(self.config.reward_arguments)

    @property
    def facts(self) -> dict[str, str]:
        """What run.json keeps of it beside the settings."""
        text = self.reward_arguments.text
        return {"reward_arguments": text} if text else {}

    @classmethod
    def fresh(cls, config: GRPOConfig, own_rewards: Mapping[str, Callable]) -> "Origin":
        """Return that of a run that begins: functions behind those that are named, paths absolute.

        Raises:
            ValueError: as `with_rewards`.
        """
        return cls(with_absolute_paths(with_rewards(config, own_rewards)), own_rewards)

    @classmethod
    def resumed(
        cls,
        run: RunDirectory,
        changes: Mapping[str, Any],
        own_rewards: Mapping[str, Callable],
        *,
        known: Collection[str],
        trusted: bool,
        at: str | None,
    ) -> "Origin":
        """Return that of a run that goes on, all that it names being there.

        Args:
            run: its directory, owned.
            changes: settings by name; those that may change.
            own_rewards: the reward functions that are handed in, by name.
            known: names of those that need not be.
            trusted: whether reward files that run.json names may lie anywhere.
            at: the checkpoint's name; None: the newest.

        Raises:
            ValueError: as `config_to_resume`, `check_unchanged_rewards`, `check_trusted` and
                `checkpoint_to_resume`.
        """
        _, stored = RunDirectory.open(str(run.path))  # as its last owner left it
        config = config_to_resume(run.path, stored, changes, own_rewards=own_rewards, known=known)
        check_unchanged_rewards(stored, config)
        if "rewards" not in changes:
            named_by = f"--resume {run.path}: run.json"
            check_trusted(config.rewards, named_by, trusted=trusted, run=run.path)
        return cls(config, own_rewards, stored, checkpoint_to_resume(run.path, at))

    def check(self, total_steps: int) -> None:
        """Raise, before weights are loaded, as `check_resumable` does of a run that goes on."""
        if self.checkpoint is not None:
            check_resumable(self.checkpoint, total_steps)
