"""What one process does in a step, as far as costs depend on it.

Shapes: N prompts of one process (groups), G completions each, B = N * G rows, P prompt tokens, C
completion tokens, K image patches of a prompt.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A step's share of one process; all prompts and all completions are of one length.

    Real completions are not: take their mean for the update, their longest for decoding.
    """

    N: int
    G: int
    P: int  # an image's K / 4 visual tokens included
    C: int
    K: int
    budget: int = 4096  # --micro-batch-tokens
    frozen_vision: bool = False
    checkpointing: bool = True  # activations are recomputed in the backward
    reference: bool = True  # beta above 0
    varlen: bool = True  # attention by varlen flash: CUDA in half precision; else padded
    sharded: bool = False  # over several processes: layers are called as they are

    @property
    def B(self) -> int:
        return self.N * self.G

    @property
    def scored(self) -> int:
        """Completion tokens that meet the output head in a pass."""
        return self.B * self.C

    @property
    def fed(self) -> int:
        """Completion tokens that a scoring pass runs: a row's last one predicts nothing."""
        return self.B * (self.C - 1)

    @property
    def pieces(self) -> int:
        """Into how many micro-batches a group is cut: its prompt is run once for each."""
        if self.budget >= self.P + self.G * self.C:
            return 1
        rows = max(1, (self.budget - self.P) // self.C)
        return -(-self.G // rows)

    @property
    def micro_batches(self) -> int:
        """How many forwards with gradient a pass over the completions takes."""
        if self.pieces > 1:
            return self.N * self.pieces
        groups = self.budget // (self.P + self.G * self.C)
        return -(-self.N // groups)

    @property
    def shares_prompt_pass(self) -> bool:
        """Whether the update goes on from the rollout's own run of the prompts."""
        fits = self.budget >= self.N * self.P + self.B * self.C
        return fits and not (self.checkpointing or self.varlen or self.sharded)

    @property
    def runs_last_layer_whole(self) -> bool:
        """Whether the last layer of a scoring pass is run for tokens that nobody reads, too."""
        return self.varlen or self.sharded

    def of_rank(self, world: int) -> "Workload":
        """Return the largest share of one of `world` processes: groups are never split."""
        return replace(self, N=-(-self.N // world), sharded=world > 1)
