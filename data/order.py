"""The order in which a run sees its examples: endless, seeded, and known at every position."""

from collections.abc import Sequence

from data.examples import VQAExample
from data.options import shuffle_options
from data.seeded import seeded_key, seeded_permutation


class ExampleOrder:
    """Example number ``position`` of a run, for any position: resuming needs no other state.

    Epoch e holds positions ``e * len(examples)`` to ``(e + 1) * len(examples) - 1``: every example
    once, in an order drawn from (seed, e). A batch may reach over the end of an epoch.
    """

    def __init__(self, examples: Sequence[VQAExample], seed: int, shuffle_options: bool) -> None:
        if not examples:
            raise ValueError("there are no examples to put in order: the training data is empty")
        self._examples = examples
        self._seed = seed
        self._shuffles_options = shuffle_options
        self._epoch = -1  # whose permutation is kept; any other is drawn anew
        self._permutation: list[int] = []

    def __getitem__(self, position: int) -> VQAExample:
        """Return the example at ``position`` >= 0; with shuffled options, this epoch's."""
        if position < 0:
            raise ValueError(f"position {position} is before the run's first example, 0")
        epoch, place = divmod(position, len(self._examples))
        return self._example(epoch, self._order_of(epoch)[place])

    def replacement(self, position: int, attempt: int) -> VQAExample:
        """Return what stands at ``position`` instead of an example that cannot be shown.

        Attempts 0, 1, 2, .. go round all other examples of the epoch's order, from a place drawn
        from (seed, position): the same ones in every run, however it was broken off. Nothing else
        of the order moves. With one example there is no other.
        """
        length = len(self._examples)
        epoch, place = divmod(position, length)
        start = seeded_key("replacement", self._seed, position)
        distance = 1 + (start + attempt) % max(length - 1, 1)
        return self._example(epoch, self._order_of(epoch)[(place + distance) % length])

    def _order_of(self, epoch: int) -> list[int]:
        if epoch != self._epoch:
            length = len(self._examples)
            self._permutation = seeded_permutation(length, "order", self._seed, epoch)
            self._epoch = epoch
        return self._permutation

    def _example(self, epoch: int, index: int) -> VQAExample:
        example = self._examples[index]
        return shuffle_options(example, self._seed, epoch) if self._shuffles_options else example
