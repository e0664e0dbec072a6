"""What to change where a run does not fit: each way with what it saves, as computed for this run.

In the order of what they cost. First what changes nothing of the result and takes little time; then
what takes time; last what changes what is trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from grpo.settings.config import GRPOConfig
from grpo.settings.run_memory import memory_of_run
from models.memory import MemoryEstimate

LEAST = 0.01  # of the sum: what saves less is not worth a word
# What is refused where there is no KL.
_OF_THE_KL = ("beta_schedule", "beta_final", "kl_estimator", "reference_sync")
_USUAL_KL = {item.name: item.default for item in fields(GRPOConfig) if item.name in _OF_THE_KL}


@dataclass(frozen=True)
class Way:
    """A change of settings and what is left to need with it."""

    flags: str
    cost: str
    estimate: MemoryEstimate
    saved: int  # bytes of the peak

    def __str__(self) -> str:
        return f"{self.flags} saves {self.saved / 1e9:.1f} GB ({self.cost})"


def ways_to_save(config: GRPOConfig, ranks: int) -> list[Way]:
    """Return what lowers the need of a run, cheapest first, each alone."""
    now = memory_of_run(config, ranks=ranks)
    ways = []
    for flags, cost, changes, processes in _changes(config, ranks):
        after = memory_of_run(replace(config, **changes), ranks=processes)
        saved = now.total - after.total
        if saved > LEAST * now.total:
            ways.append(Way(flags, cost, after, saved))
    return ways


def together(config: GRPOConfig, ranks: int, available: float) -> list[str]:
    """Return the flags that, taken one after the other, make the run fit; none if all do not."""
    flags: list[str] = []
    for flag, _, changes, processes in _changes(config, ranks):
        if processes != ranks or not _go_together(config, changes):
            continue
        after = memory_of_run(replace(config, **changes), ranks=ranks)
        if after.total >= (1 - LEAST) * memory_of_run(config, ranks=ranks).total:
            continue
        config, flags = replace(config, **changes), [*flags, flag]
        if after.total <= available:
            return flags
    return []


def _go_together(config: GRPOConfig, changes: dict[str, Any]) -> bool:
    """Return whether a further change goes with those before it: one place for the moments."""
    return not (config.offload_optimizer and "optimizer" in changes)


def _changes(config: GRPOConfig, ranks: int) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield flags, what they cost, the settings that they change, and how many processes."""
    is_trained = config.lora_rank == 0
    half = config.micro_batch_tokens // 2
    if half > config.max_completion_tokens:
        yield (
            f"--micro-batch-tokens {half}",
            "same gradient, more passes",
            {"micro_batch_tokens": half},
            ranks,
        )
    if not config.gradient_checkpointing:
        yield (
            "--gradient-checkpointing",
            "same gradient, about a third more time for the update",
            {"gradient_checkpointing": True},
            ranks,
        )
    on_device = config.has_reference and config.reference_device == config.device
    if on_device and config.device != "cpu" and is_trained and ranks == 1:
        yield (
            "--reference-device cpu",
            "same numbers, its layers are copied over in every step",
            {"reference_device": "cpu"},
            ranks,
        )
    has_moved = config.offload_optimizer or config.optimizer != "adamw"  # one way, not both
    if config.device != "cpu" and not has_moved:
        yield (
            "--offload-optimizer",
            "same numbers, the update waits for the bus; host memory instead",
            {"offload_optimizer": True},
            ranks,
        )
        yield (
            "--optimizer adamw_8bit",
            "moments in 8 bits: other rounding",
            {"optimizer": "adamw_8bit"},
            ranks,
        )
    if config.device != "cpu":
        yield (
            f"torchrun --nproc-per-node {2 * ranks}",
            "same numbers, more cards",
            {},
            2 * ranks,
        )
    if config.has_reference and is_trained:
        yield "--beta 0", "no KL, and no reference", {"beta": 0.0} | _USUAL_KL, ranks
    if not config.freeze_vision and is_trained:
        yield "--freeze-vision", "the tower is not trained", {"freeze_vision": True}, ranks
    if is_trained:
        # whose reference is the policy without them: it cannot follow
        adapted = {"lora_rank": 16, "reference_sync": 0}
        yield "--lora-rank 16", "adapters are trained, not the weights", adapted, ranks
