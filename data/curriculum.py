"""The order of a run with --curriculum: which example stands where depends on what was learned.

An example is drawn by weight (data/pass_rates.py), from a number that (seed, position) alone
decide. Batches are read ahead of their step, so the weights of a step know of no step that may
still be to come when it is read:

    step s is drawn from what came of steps 0 .. s - 1 - lag, of all of them and of no other

whether it is read early or late, in one process or in many, in a run that was never broken off or
directly after a resumption. What came of the last ``lag`` steps is therefore kept apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from data.examples import VQAExample
from data.order import ExampleOrder
from data.pass_rates import Outcome, PassRates, check_outcome, learnability_weights
from data.seeded import seeded_key
from data.weighted import weighted_rows

KEY = "curriculum"  # of its part of a checkpoint's state.json


@dataclass(frozen=True)
class DrawnStep:
    """The rows of a step, and what is logged of the weights that drew them."""

    rows: list[int]
    metrics: dict[str, float | None]


class Curriculum:
    """Example number ``position`` of a run, for the positions of the steps that are next."""

    def __init__(self, order: ExampleOrder, prompts_per_step: int, lag: int) -> None:
        """Start with rows that were never shown.

        Args:
            order: has the examples, the seed, and how an example is shown.
            prompts_per_step: positions of a step; no row stands twice among them while there are
                others.
            lag: how many steps ahead of its own a step may be read.
        """
        self._order, self._size, self._lag = order, prompts_per_step, lag
        self._rates = PassRates(len(order.examples))  # of the steps before those of _told
        self._told: dict[int, list[Outcome]] = {}  # step -> what came of it; the newest ones
        self._num_told = 0  # steps, from the first one on
        self._drawn: dict[int, DrawnStep] = {}
        self._rows = {example.id: row for row, example in enumerate(order.examples)}

    @classmethod
    def of(
        cls, order: ExampleOrder, prompts_per_step: int, lag: int, state: Mapping[str, Any]
    ) -> Self:
        """Return that of a run that goes on from a checkpoint's state.json; at step 0, a fresh one.

        Raises:
            ValueError: the state has no curriculum of these rows.
        """
        found = cls(order, prompts_per_step, lag)
        if (done := state["step"]) > 0:
            try:
                found._restore(state.get(KEY), done)
            except ValueError as error:
                raise ValueError(
                    f"the checkpoint's trainer/state.json cannot be resumed: its {KEY} does not"
                    f" fit: {error}: name an earlier checkpoint with --resume-from"
                ) from error
        return found

    def __getitem__(self, position: int) -> VQAExample:
        """Return the example at ``position``, its options as its epoch has them."""
        return self._order.shown(self._row(position), position)

    def replacement(self, position: int, attempt: int) -> VQAExample:
        """Return what stands at ``position`` instead of an example that cannot be shown.

        Attempts go round all other rows from a place drawn from (seed, position), whatever they
        weigh, as `ExampleOrder.replacement` does. The row that failed keeps its rate.
        """
        row = self._row(position) + self._order.distance(position, attempt)
        return self._order.shown(row % len(self._order.examples), position)

    def metrics(self, step: int) -> dict[str, float | None]:
        """Return what is logged of the weights that a step was drawn with."""
        return self._step(step).metrics

    def observe(self, step: int, ids: Sequence[str], shares: Sequence[float]) -> None:
        """Take note of what came of a step: for each example it showed, the share that passed.

        Raises:
            KeyError: an id is none of the examples'.
        """
        assert step == self._num_told, f"step {step} is told of, {self._num_told} is next"
        pairs = zip(ids, shares, strict=True)
        self._told[step] = [(self._rows[id_], share) for id_, share in pairs]
        self._num_told += 1
        for old in [one for one in self._told if one < step - self._lag]:
            self._rates.add(self._told.pop(old))
        self._drawn = {one: drawn for one, drawn in self._drawn.items() if one > step}

    def state(self, done: int) -> dict[str, Any]:
        """Return the part of state.json after ``done`` steps; a step that was dropped is left out.

        The rates are those that step ``done`` is drawn from; then, apart, what the ``lag`` steps
        behind them have shown.
        """
        recent = [self._told[step] for step in range(max(0, done - self._lag), done)]
        return {KEY: {**self._known(done).state, "recent": recent}}

    def _restore(self, state: Any, done: int) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("recent"), list):
            raise ValueError(f"it is {type(state).__name__}, and no list of recent steps")
        count, recent = len(self._order.examples), state["recent"]
        if len(recent) != min(self._lag, done):
            raise ValueError(f"{len(recent)} recent steps, not {min(self._lag, done)}")
        self._rates, self._num_told = PassRates.of(state, count), done
        for step, outcomes in enumerate(recent, start=done - len(recent)):
            for row, share in outcomes:
                check_outcome(row, share, count)
            self._told[step] = [(row, share) for row, share in outcomes]

    def _row(self, position: int) -> int:
        step, place = divmod(position, self._size)
        return self._step(step).rows[place]

    def _step(self, step: int) -> DrawnStep:
        if step not in self._drawn:
            self._drawn[step] = self._draw(step)
        return self._drawn[step]

    def _draw(self, step: int) -> DrawnStep:
        assert step - self._lag <= self._num_told, f"step {step} is read too early"
        rates = self._known(step)
        weights = learnability_weights(rates.rates)
        positions = range(step * self._size, (step + 1) * self._size)
        # 53 of the hash's bits: all that a number below 1 can hold
        keys = [seeded_key(KEY, self._order.seed, position) for position in positions]
        rows = weighted_rows(weights, [(key >> 11) * 2.0**-53 for key in keys])
        seen = rates.rates[rates.times_seen > 0]
        metrics = {
            "curriculum/pass_rate_mean": float(seen.mean()) if len(seen) else None,
            "curriculum/unseen": 1 - len(seen) / len(weights),
            "curriculum/effective_examples": float(weights.sum() ** 2 / (weights**2).sum()),
        }
        return DrawnStep(rows, metrics)

    def _known(self, step: int) -> PassRates:
        """Return the rates that step ``step`` is drawn from."""
        known = self._rates.copy()
        for told, outcomes in self._told.items():
            if told < step - self._lag:
                known.add(outcomes)
        return known
