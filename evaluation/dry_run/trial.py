"""A few steps on the real model and data, to say how long the run will take; nothing is written."""

import time
from statistics import mean

from evaluation.heldout import HeldOut
from grpo.clock import STEP_PARTS
from grpo.trainer import Trainer
from process.page import fitted


def say_times(trainer: Trainer, heldout: HeldOut | None, count: int) -> None:
    """Take the run's next steps; print what each took, and what the rest will take at that rate.

    The first one warms up (kernels are compiled, graphs captured), so of several it is not counted.
    """
    count = min(count, trainer.total_steps - trainer.done)
    if count < 1:
        print("\nno step is left to try")
        return
    times = trainer.try_steps(count)
    counted = times[1:] or times
    means = {part: mean(taken[f"time/{part}"] for taken in counted) for part in STEP_PARTS}
    each, left = sum(means.values()), trainer.total_steps - trainer.done
    listed = ", ".join(
        f"{part} {seconds:.2f}" for part, seconds in means.items() if seconds >= 0.005
    )
    first = " after the first" if len(times) > 1 else ""
    print(
        f"\nTime, of {len(counted)} trial step{'s' * (len(counted) > 1)}{first}\n"
        f"  a step takes {each:.2f} s ({listed}): {left:,} steps {_long(left * each)}"
    )
    of_evaluation = 0.0
    if heldout is not None:
        started = time.perf_counter()
        share = heldout.ask_first_batch(trainer.policy.sampler())
        of_evaluation = (time.perf_counter() - started) / share
        rounds = evaluations(trainer)
        print(f"  an evaluation takes about {_long(of_evaluation)}: {rounds} of them")
        of_evaluation *= rounds
    print(fitted(f"  in all about {_long(left * each + of_evaluation)}, saving left out"))


def evaluations(trainer: Trainer) -> int:
    """Return how many evaluations are left: before the first step, on the way, after the last."""
    every, done, total = trainer.config.eval_every, trainer.done, trainer.total_steps
    due = {total, *(range(every, total + 1, every) if every else ())}
    return sum(step > done for step in due) + (done == 0)


def _long(seconds: float) -> str:
    """Return a time as it is said.

    >>> _long(8.25), _long(95), _long(7500)
    ('8.2 s', '1 min 35 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
