"""What each alarm looks for in the stream of metrics, and from where on it speaks.

A rule is a function of the metrics so far. It looks at a median or mean over several steps, never
at one: a single batch of hard questions, or one token that the reference finds absurd, is no
alarm (in the embedded default run one step has a KL of 1.8 among steps of 0.1, and it learns well).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

FIRST_STEPS = 5  # whose mean is what the run started with
WINDOW = 10  # steps of most rules
LONG_WINDOW = 20  # of those whose numbers jump from batch to batch
REMEMBERED = 200  # steps back that "its best" looks

# Nats per token, the mean log ratio under the policy: at 1 the reference finds the sampled tokens
# e times less likely each. In the embedded default run, at a large learning rate, no ten steps have
# a median above 0.11 (seed 0).
KL_MAX = 1.0
# A KL that grows fourfold within 20 steps does not stop at a bound; below half of KL_MAX it may,
# and every run starts at 0, from where any growth is a large factor.
KL_GROWTH, KL_GROWTH_FLOOR = 4.0, 0.5
# Of what it was at first. Learning halves it in the embedded default run; at a tenth the siblings
# of a group are nearly copies.
ENTROPY_SHARE = 0.1
# Of the mean length at first, both ways: a mode that is new to the model changes lengths by less.
LENGTH_FACTOR = 3.0
# Points under the best window: shares of 16 completions a step (Med-R1's size) have a standard
# error of at most 0.04 over ten steps, so this is no chance.
FORMAT_FALL = 0.2
# A quarter of the completions without an answer: the group's comparison is then about length.
TRUNCATED_MAX = 0.25
# In step-to-step standard deviations. The means of two windows of 20 differ by 0.32 of those by
# chance, and the best of nine is 0.33 too high: 1.5 leaves more than three standard errors. Falls
# of less than 5 % are left alone where steps hardly differ.
REWARD_FALL, REWARD_FALL_SHARE = 1.5, 0.05
# One group in ten teaches: the other nine are rollouts for nothing. The embedded default run, 94 %
# right at its end, comes to 0.8.
ZERO_STD_MAX = 0.9


@dataclass(frozen=True)
class Finding:
    """What a rule found."""

    text: str
    severity: float  # times its limit: 1 at the limit, inf where nothing is left


class History:
    """The first steps' metrics and the newest ones'."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._first: list[Mapping[str, Any]] = []
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=REMEMBERED)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Add one step."""
        if len(self._first) < FIRST_STEPS:
            self._first.append(metrics)
        self._recent.append(metrics)

    def start(self, name: str) -> float | None:
        """Return the mean of the first steps; None if it is not known."""
        values = _known(self._first, name)
        return None if values is None or len(values) < FIRST_STEPS else fmean(values)

    def last(self, name: str, count: int, ago: int = 0) -> list[float] | None:
        """Return the values of ``count`` steps, ``ago`` steps ago; None if any is not known."""
        stop = len(self._recent) - ago
        if stop < count:
            return None
        return _known((self._recent[place] for place in range(stop - count, stop)), name)

    def windows_before(self, name: str, count: int) -> list[list[float]]:
        """Return the windows of ``count`` steps that lie wholly before the last one."""
        starts = range(count, len(self._recent) - count + 1, count)
        return [window for ago in starts if (window := self.last(name, count, ago)) is not None]


def _known(rows: Iterable[Mapping[str, Any]], name: str) -> list[float] | None:
    values = [row.get(name) for row in rows]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _times(value: float, limit: float) -> float:
    return value / limit if limit > 0 else math.inf


def _reference(history: History) -> str:
    """Return what the KL is one to: with --reference-sync no longer the start model."""
    return "the start model" if history.last("reference_age", 1) is None else "the reference"


def _kl_is_per(history: History) -> str:
    # --exact-no-think lists answers and has the KL of whole ones
    return "question" if history.last("exact/mass_outside", 1) else "token"


def kl_is_high(history: History) -> Finding | None:
    """Say so where the policy has left its start model, or the reference that follows it."""
    window = history.last("kl", WINDOW)
    if window is None or median(window) <= KL_MAX:
        return None
    return Finding(
        f"the KL to {_reference(history)} is {median(window):.2f} nats per {_kl_is_per(history)}"
        f" (median of {WINDOW} steps, alarm above {KL_MAX:g}): raise --beta, or lower"
        " --learning-rate",
        median(window) / KL_MAX,
    )


def kl_rises(history: History) -> Finding | None:
    """Say so where the KL multiplies within some steps."""
    now, then = history.last("kl", 5), history.last("kl", 5, ago=20)
    if now is None or then is None:
        return None
    limit = max(KL_GROWTH_FLOOR, KL_GROWTH * median(then))
    if median(now) <= limit:
        return None
    return Finding(
        f"the KL to {_reference(history)} rose from {median(then):.2g} to {median(now):.2g} nats"
        f" per {_kl_is_per(history)} within 20 steps: lower --learning-rate or --max-grad-norm, or"
        " raise --beta",
        median(now) / limit,
    )


def entropy_collapsed(history: History) -> Finding | None:
    """Say so where sampling hardly chooses any more."""
    window, start = history.last("entropy", WINDOW), history.start("entropy")
    if window is None or start is None or median(window) >= ENTROPY_SHARE * start:
        return None
    return Finding(
        f"the entropy fell to {median(window):.2g} nats per token from {start:.2g} at first:"
        " siblings are nearly copies and there is little to compare; raise --temperature,"
        " --epsilon-high, --entropy-bonus or --beta, or lower --learning-rate",
        _times(ENTROPY_SHARE * start, median(window)),
    )


def length_changed(history: History) -> Finding | None:
    """Say so where completions became several times shorter or longer."""
    name = "completion_tokens"
    window, start = history.last(name, WINDOW), history.start(name)
    if window is None or start is None:
        return None
    now = median(window)
    if now < start / LENGTH_FACTOR:
        return Finding(
            f"completions shrank to {now:.0f} tokens from {start:.0f} at first: read some in"
            " rollouts.jsonl; if thoughts are gone, raise --beta or reward them, and try"
            " --loss-normalization constant",
            _times(start / LENGTH_FACTOR, now),
        )
    if now > start * LENGTH_FACTOR:
        return Finding(
            f"completions grew to {now:.0f} tokens from {start:.0f} at first: read some in"
            " rollouts.jsonl; --loss-normalization sequence makes long wrong ones cheap, try"
            " constant or token, or raise --beta",
            now / (start * LENGTH_FACTOR),
        )
    return None


def format_is_lost(history: History) -> Finding | None:
    """Say so where well-formed completions become rarer than they were."""
    window = history.last("well_formed", WINDOW)
    before = history.windows_before("well_formed", WINDOW)
    if window is None or not before:
        return None
    now, best = fmean(window), max(map(fmean, before))
    if now >= best - FORMAT_FALL:
        return None
    return Finding(
        f"well-formed completions fell to {now:.0%} from {best:.0%}: keep format among --rewards,"
        " raise its --reward-weights, lower --learning-rate or raise --beta",
        (best - now) / FORMAT_FALL,
    )


def many_are_truncated(history: History) -> Finding | None:
    """Say so where many completions end at the limit."""
    window = history.last("truncated", WINDOW)
    if window is None or fmean(window) <= TRUNCATED_MAX:
        return None
    return Finding(
        f"{fmean(window):.0%} of the completions reach the limit without an end (mean of {WINDOW}"
        f" steps, alarm above {TRUNCATED_MAX:.0%}): raise --max-completion-tokens; without"
        " --mask-truncated they are trained on as they are",
        fmean(window) / TRUNCATED_MAX,
    )


def _chooses(history: History) -> str | None:
    """Return what chooses the groups of the last step by what came of them, if anything does."""
    marks = {"dynamic_sampling": "dynamic/reward", "curriculum": "curriculum/unseen"}
    return next((name for name in marks if history.last(marks[name], 1) is not None), None)


def reward_falls(history: History) -> Finding | None:
    """Say so where the reward is well under what it was, of questions that are no harder.

    Dynamic sampling leaves out what is always right by now, so there all groups that were drawn are
    compared, not those that were kept. A curriculum draws harder questions as the policy learns
    them: a lower reward then says nothing.
    """
    chosen_by = _chooses(history)
    if chosen_by == "curriculum":
        return None
    name = "dynamic/reward" if chosen_by == "dynamic_sampling" else "reward"
    window = history.last(name, LONG_WINDOW)
    before = history.windows_before(name, LONG_WINDOW)
    if window is None or not before:
        return None
    best = max(before, key=fmean)
    fall = fmean(best) - fmean(window)
    spread = ((stdev(best) ** 2 + stdev(window) ** 2) / 2) ** 0.5  # pooled
    limit = max(REWARD_FALL * spread, REWARD_FALL_SHARE * abs(fmean(best)))
    if fall <= limit:
        return None
    return Finding(
        f"the reward fell to {fmean(window):.3g} from {fmean(best):.3g} (means of {LONG_WINDOW}"
        " steps): lower --learning-rate, raise --beta, or take more --prompts-per-step; where"
        " there are held-out questions, checkpoints/best.json names the best step",
        _times(fall, limit),
    )


def groups_agree(history: History) -> Finding | None:
    """Say so where nearly no group teaches."""
    window = history.last("zero_std_groups", LONG_WINDOW)
    if window is None or fmean(window) <= ZERO_STD_MAX:
        return None
    way_out = {
        None: " or --temperature, draw others in their place (--dynamic-sampling)",
        "dynamic_sampling": ", --temperature or --dynamic-sampling",
        "curriculum": " or --temperature",  # which does not go with --dynamic-sampling
    }[_chooses(history)]
    return Finding(
        f"in {fmean(window):.0%} of the groups all rewards agree (mean of {LONG_WINDOW} steps,"
        f" alarm above {ZERO_STD_MAX:.0%}), so they teach nothing: raise --group-size{way_out},"
        " or leave out questions that are always right or always wrong",
        _times(1 - ZERO_STD_MAX, 1 - fmean(window)),
    )


RULES: tuple[Callable[[History], Finding | None], ...] = (
    *(kl_is_high, kl_rises, entropy_collapsed, length_changed),
    *(format_is_lost, many_are_truncated, reward_falls, groups_agree),
)
