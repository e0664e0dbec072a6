"""What a run leaves behind: its directory, checkpoints, what it came from, profiles, rollouts."""

from grpo.run.directory import RunDirectory
from grpo.run.generators import seeded
from grpo.run.provenance import check_unchanged_rewards, checked_sources, run_description
from grpo.run.session import FinishedRun, Session
from grpo.run.start_point import check_resumable, checkpoint_to_resume, set_aside_newer
from process.memory import DeviceMemoryError

__all__ = [
    "DeviceMemoryError",
    "FinishedRun",
    "RunDirectory",
    "Session",
    "check_resumable",
    "check_unchanged_rewards",
    "checked_sources",
    "checkpoint_to_resume",
    "run_description",
    "seeded",
    "set_aside_newer",
]
