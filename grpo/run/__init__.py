"""What a run leaves behind: its directory, checkpoints, what it came from, profiles, rollouts."""

from grpo.run.directory import RunDirectory
from grpo.run.generators import seeded
from grpo.run.going_on import going_on
from grpo.run.origin import Origin
from grpo.run.provenance import checked_sources, run_description
from grpo.run.session import FinishedRun, Session
from process.memory import DeviceMemoryError

__all__ = [
    "DeviceMemoryError",
    "FinishedRun",
    "Origin",
    "RunDirectory",
    "Session",
    "checked_sources",
    "going_on",
    "run_description",
    "seeded",
]
