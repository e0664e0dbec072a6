"""Reward code: handed in, or named by a file and by nobody: said, and run only where trusted.

A reward file is Python, run with all rights of who trains. Who names it on the command line means
it. Where run.json, a --config file or a protocol names it, these may be another's: a run that was
downloaded would run whatever it names. So its path is said, and where it lies outside the current
folder, or within the run itself, nothing runs without --trust-reward-file.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from grpo.settings.config import GRPOConfig
from process.flags import flag_of
from process.paths import user_path

TRUST = flag_of("trust_reward_file")


def check_trusted(
    rewards: Iterable[str], named_by: str, *, trusted: bool, run: Path | None = None
) -> None:
    """Print which reward files will run, or raise before one of them has.

    Args:
        rewards: names of reward functions, some of them path.py:function.
        named_by: who names them, to begin a message with.
        trusted: whether --trust-reward-file was given.
        run: the directory of a run that goes on.

    Raises:
        ValueError: a file lies elsewhere, and nobody trusts it.
    """
    rewards = tuple(rewards)
    strange = foreign_files(rewards, run)
    if strange and not trusted:
        shown = ", ".join(map(str, strange))
        raise ValueError(
            f"{named_by} names reward code that lies outside the current folder or within the run:"
            f" {shown}. It would run with all your rights: read it, then add {TRUST}"
        )
    for file in _files(rewards):
        print(f"reward code: {file} runs as part of this run")


def with_rewards(config: GRPOConfig, names: Iterable[str]) -> GRPOConfig:
    """Return the settings with these reward functions after those that they name already.

    Raises:
        ValueError: there are other than one weight each, or nothing is rewarded in the method.
    """
    new = [name for name in names if name not in config.rewards]
    if new and config.method == "sft":
        raise ValueError(f"reward functions ({', '.join(new)}) are not used by method=sft")
    return replace(config, rewards=(*config.rewards, *new))


def foreign_files(rewards: Iterable[str], run: Path | None = None) -> list[Path]:
    """Return the reward files outside the current folder, or within a run that goes on."""
    here = Path.cwd().resolve()
    inside = None if run is None else run.resolve()
    return [
        file
        for file in _files(rewards)
        if not file.is_relative_to(here) or (inside is not None and file.is_relative_to(inside))
    ]


def _files(rewards: Iterable[str]) -> list[Path]:
    named = [name.rpartition(":")[0] for name in rewards if ".py:" in name]
    return list(dict.fromkeys(user_path(name).resolve() for name in named))
