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
        self.examples = examples
        self.seed = seed
        self._shuffles_options = shuffle_options
        self._epoch = -1  # whose permutation is kept; any other is drawn anew
        self._permutation: list[int] = []

    def __getitem__(self, position: int) -> VQAExample:
        """Return the example at ``position`` >= 0; with shuffled options, this epoch's."""
        if position < 0:
            raise ValueError(f"position {position} is before the run's first example, 0")
        epoch, place = divmod(position, len(self.examples))
        return self.shown(self._order_of(epoch)[place], position)

    def replacement(self, position: int, attempt: int) -> VQAExample:
        """Return what stands at ``position`` instead of an example that cannot be shown.

        Attempts 0, 1, 2, .. go round all other examples of the epoch's order, from a place drawn
        from (seed, position): the same ones in every run, however it was broken off. Nothing else
        of the order moves. With one example there is no other.
        """
        length = len(self.examples)
        epoch, place = divmod(position, length)
        place = (place + self.distance(position, attempt)) % length
        return self.shown(self._order_of(epoch)[place], position)

    def distance(self, position: int, attempt: int) -> int:
        """Return how many places behind it an example stands that takes another's position."""
        start = seeded_key("replacement", self.seed, position)
        return 1 + (start + attempt) % max(len(self.examples) - 1, 1)

    def shown(self, row: int, position: int) -> VQAExample:
        """Return the example of a row as it is shown at a position: with its epoch's options."""
        example = self.examples[row]
        if not self._shuffles_options:
            return example
        return shuffle_options(example, self.seed, position // len(self.examples))

    def _order_of(self, epoch: int) -> list[int]:
        if epoch != self._epoch:
            length = len(self.examples)
            self._permutation = seeded_permutation(length, "order", self.seed, epoch)
            self._epoch = epoch
        return self._permutation
