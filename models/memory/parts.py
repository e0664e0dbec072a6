"""The estimate itself: bytes by purpose, and which of them are there at the same time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Sizes = dict[str, int]  # bytes by part

# Part -> what docs/memory.md and a dry run call it.
PARTS: dict[str, str] = {
    "weights": "weights that every forward reads",
    "master": "float32 weights that AdamW moves",
    "moments": "AdamW's two moments",
    "gradients": "gradients, summed in float32",
    "reference": "the reference of the KL",
    "features": "image features of a frozen tower, kept",
    "sampler": "the whole copy that decodes",
    "gathered": "layers on their way through a rank",
    "prompt cache": "keys and values of prompts",
    "decode cache": "keys and values of completions",
    "decode weights": "projections laid out for decoding",
    "graphs": "one token of every row through the layers, in CUDA graphs",
    "decode step": "one token of every row: its logits, and the choice among them",
    "activations": "what autograd keeps, and the layer it works on",
    "tiles": "logits of the log-prob op, tile by tile",
    "embedding": "gradients of the embedding beside their sum",
    "optimizer": "what an update works in",
    "context": "CUDA's own",
    "fragmentation": "what the allocator cannot hand out",
}
# What stands between two steps: an evaluation finds it there.
STAYING = (
    *("weights", "master", "moments", "gradients", "reference", "features", "sampler"),
    *("prompt cache", "decode cache", "decode weights", "graphs", "context", "fragmentation"),
)
# What decoding leaves standing beside an update, and a rollout could make anew.
DECODING = ("sampler", "prompt cache", "decode cache", "decode weights", "graphs")
# What smaller micro-batches or recomputed activations lower.
LOWERED = ("activations", "tiles", "fragmentation")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one process on its device, and beside it in the machine's own memory."""

    moments: Mapping[str, Mapping[str, int]]  # of a step: what is there, by part
    parts: Mapping[str, int]  # each one's most, in the order of PARTS
    host: Mapping[str, int] = field(default_factory=dict)  # parts that wait in CPU memory

    @property
    def peak(self) -> str:
        """The moment that needs most."""
        return max(self.moments, key=lambda moment: sum(self.moments[moment].values()))

    @property
    def at_peak(self) -> Mapping[str, int]:
        """The parts that are there then; they add up to the total."""
        return self.moments[self.peak]

    @property
    def total(self) -> int:
        """Bytes at that moment."""
        return sum(self.at_peak.values())

    @property
    def resident(self) -> int:
        """What neither smaller micro-batches nor recomputed activations lower."""
        return self.total - sum(self.at_peak.get(part, 0) for part in LOWERED)

    @property
    def staying(self) -> int:
        """What stands between two steps."""
        return sum(self.parts.get(part, 0) for part in STAYING)

    @property
    def with_sampler_freed(self) -> "MemoryEstimate":
        """The same run if the copy that decodes, and what it needs, is there in rollouts alone."""
        moments = {
            moment: {
                part: size
                for part, size in parts.items()
                if moment == "rollout" or part not in DECODING
            }
            for moment, parts in self.moments.items()
        }
        return replace(self, moments=moments)

    def of(self, part: str) -> int:
        """Return the most that a part needs, 0 where the run has none of it."""
        return self.parts.get(part, 0)

    def __str__(self) -> str:
        """One line in units of 1e9 bytes: the peak, largest parts first."""
        ordered = sorted(self.at_peak.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{part} {size / 1e9:.1f}" for part, size in ordered if size >= 5e7)
        return f"{self.total / 1e9:.1f} GB ({listed or 'all parts small'})"
