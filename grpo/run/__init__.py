"""What a run leaves behind: its directory, checkpoints, what it came from, profiles, rollouts."""

from grpo.run.directory import RunDirectory
from grpo.run.generators import seeded
from grpo.run.provenance import check_unchanged_rewards, checked_sources, run_description
from grpo.run.session import DeviceMemoryError, FinishedRun, Session

__all__ = [
    "DeviceMemoryError",
    "FinishedRun",
    "RunDirectory",
    "Session",
    "check_unchanged_rewards",
    "checked_sources",
    "run_description",
    "seeded",
]
