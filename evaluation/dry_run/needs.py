"""What a run needs: memory of each process part by part, steps, room on the disk."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from grpo.run.room import most_at_a_time
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import MARGIN, advice_of, fits, free_memory
from grpo.settings.run_memory import checkpoint_bytes, memory_of_run
from models.memory import MemoryEstimate
from process.page import fitted
from process.ranks import place
from process.tables.text import table_lines
from process.tables.value import Table, columns_of

SHARED_BY = (2, 4, 8)  # processes, where one is asked


def memory_lines(config: GRPOConfig, prompt_tokens: int | None, images: int = 1) -> list[str]:
    """Return the parts of one process's memory, whether they fit, and what else could be done.

    Args:
        config: with everything definite.
        prompt_tokens: of the longest prompt that was seen.
        images: of the row that shows most of them.
    """
    ranks = place().size
    prompt: dict[str, Any] = {"prompt_tokens": prompt_tokens, "images": images}
    estimate = memory_of_run(config, ranks=ranks, **prompt)
    of_each = f", of each of {ranks} processes" if ranks > 1 else ""
    at_peak = estimate.at_peak
    rows = [
        [part, _bytes(size), _bytes(at_peak.get(part, 0))] for part, size in estimate.parts.items()
    ]
    rows.append(["in all", "", _bytes(estimate.total)])
    columns = columns_of(["part (docs/memory.md)", "at most", f"in the {estimate.peak}"])
    lines = [f"Memory on {config.device}{of_each}"]
    lines += [f"  {line}" for line in table_lines(Table(columns, rows))]
    if estimate.host:
        waiting = ", ".join(f"{part} {_bytes(size)}" for part, size in estimate.host.items())
        lines.append(f"  in the machine's own memory beside it: {waiting}")
    lines += _shared(config, ranks, prompt)
    return [*lines, fitted(f"  {_verdict(config, estimate, ranks)}")]


def _shared(config: GRPOConfig, ranks: int, prompt: Mapping[str, Any]) -> Iterator[str]:
    if ranks > 1 or config.prompts_per_step < min(SHARED_BY):
        return
    totals = {
        count: memory_of_run(config, ranks=count, **prompt).total
        for count in SHARED_BY
        if count <= config.prompts_per_step
    }
    needs = (f"{count} need {_bytes(total)}" for count, total in totals.items())
    yield f"  shared by several processes (torchrun): {', '.join(needs)} each"


def _verdict(config: GRPOConfig, estimate: MemoryEstimate, ranks: int) -> str:
    device = torch.device(config.device)
    if device.type == "cuda":
        available = float(torch.cuda.get_device_properties(device).total_memory)
    else:
        available = free_memory(device) / ranks  # all share the machine's
    has = f"{_bytes(estimate.total)} of {_bytes(available)}"
    if fits(estimate, available):
        return f"fits: {has}"
    return (
        f"does not fit with a margin of {MARGIN:.0%}: {has}. {advice_of(config, ranks, available)}"
    )


def step_lines(config: GRPOConfig, rows: int, done: int, total: int) -> list[str]:
    """Return how many steps there are, and what each samples."""
    seen = total * config.prompts_per_step
    going_on = f"; {done:,} are done, {total - done:,} are left" if done else ""
    samples = f", {config.completions_per_step:,} completions" if config.samples else ""
    again = (
        f"; dynamic sampling draws up to {config.dynamic_sampling:,} times as many again"
        if config.dynamic_sampling
        else ""
    )
    return [
        "Steps",
        f"  {total:,} steps of {config.prompts_per_step:,} questions{samples}: {seen / rows:,.2f}"
        f" epochs of {rows:,} rows{again}{going_on}",
    ]


def disk_lines(config: GRPOConfig, done: int, total: int) -> list[str]:
    """Return what a checkpoint takes, and what all of them do at the most."""
    steps = range(done, max(total, done + 1))
    each, count = checkpoint_bytes(config, steps), most_at_a_time(config, steps)
    return [
        "Disk",
        f"  a checkpoint takes about {_bytes(each)}; {count} at a time, {_bytes(count * each)}",
    ]


def _bytes(size: float) -> str:
    """Return bytes in units of 1e9, of 1e6 where they are few; "" for none.

    >>> _bytes(17_671_884_800), _bytes(4_695_424), _bytes(0)
    ('17.7 GB', '4.7 MB', '')
    """
    if not size:
        return ""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
