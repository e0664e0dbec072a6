"""GPUs by what their data sheets say, and what a cluster of them is assumed to be.

Peaks are of dense bfloat16 on matrix units. Links are counted one way: a data sheet that says 900
GB/s of NVLink means 450 each way. What leaves a node is no property of a card: the values here are
those of the usual nodes, one network adapter per GPU, and are a guess where that is said.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Card:
    """One GPU and its share of what connects it; bytes and operations per second."""

    name: str
    flops: float
    bandwidth: float  # of its memory
    memory: float  # bytes
    link: float  # to the others of its node, one way
    network: float  # to other nodes, one way
    per_node: int = 8

    def with_(self, **changes: float) -> "Card":
        """Return it with other values: a slower network, more GPUs to a node."""
        return replace(self, **changes)  # type: ignore[arg-type]


# flops, bandwidth, memory and link: NVIDIA's data sheets of the SXM and PCIe boards.
# network: 400 Gb/s per GPU as in DGX H100 and H200, 200 as in DGX A100; L40S: a guess.
CARDS = {
    "a100": Card("A100 SXM 80 GB", 312e12, 2.039e12, 80e9, 300e9, 25e9),
    "h100": Card("H100 SXM", 989e12, 3.35e12, 80e9, 450e9, 50e9),
    "h200": Card("H200 SXM", 989e12, 4.8e12, 141e9, 450e9, 50e9),
    "l40s": Card("L40S", 362e12, 0.864e12, 48e9, 32e9, 12.5e9),  # link: PCIe 4.0 x16
}


@dataclass(frozen=True)
class Shares:
    """Which share of a peak is reached. Assumptions, every one of them: nothing was fitted.

    What the GPU tests ask for is 0.45 of the matrix units and 0.6 of the memory
    (benchmarks/gpu_bounds.py); no card has been measured.
    """

    compute: float = 0.4  # of the matrix units, in passes over many tokens
    bandwidth: float = 0.6  # of the memory, in decoding and in AdamW
    network: float = 0.7  # of links and network
    hop_seconds: float = 5e-6  # from one process of a ring to the next, per collective
    logit_passes: int = 10  # how often the sampler reads or writes the (B, V) logits, in float32
