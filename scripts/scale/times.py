"""How long a step takes at best, from what it computes, reads and sends.

    pass       operations / (share of the matrix units)
    decoding   step by step, the slower of reading (weights, keys and values, logits) and computing
    AdamW      bytes of this process's shards / (share of the memory's speed)
    network    gatherings and reductions, whose ring has W - 1 hops; inside a node by its links,
               between nodes by all adapters of a node together

Gatherings and reductions run beside the computation they belong to, so an update takes the longer
of the two; that is the best case. The sampler's gathering has nothing to hide behind.

Left out: rewards, images, tokenizing, what the host does between kernels, and that a rollout ends
with its longest row.
"""

from dataclasses import dataclass, field

from scripts.scale.cards import Card, Shares
from scripts.scale.communication import Communication, Traffic
from scripts.scale.flops import StepFlops
from scripts.scale.shards import Shards
from scripts.scale.sizes import TextSizes
from scripts.scale.workload import Workload

# AdamW on one float32 number: gradient read for the norm, read and written by clipping, read once
# more; the number and both moments read and written.
ADAMW_BYTES = 4 * (1 + 2 + 1 + 2 + 2 + 2)


@dataclass(frozen=True)
class Machine:
    """So many of a card, and what is reached of them."""

    card: Card
    world: int
    shares: Shares = field(default_factory=Shares)

    def compute(self, flops: float) -> float:
        """Return the seconds of a pass over many tokens."""
        return flops / (self.shares.compute * self.card.flops)

    def read(self, num_bytes: float) -> float:
        """Return the seconds of reading or writing so much memory."""
        return num_bytes / (self.shares.bandwidth * self.card.bandwidth)

    def send(self, traffic: Traffic) -> float:
        """Return the seconds of ring collectives.

        All that the other nodes have must come into a node once, by all its adapters together;
        inside it goes round by the links.
        """
        if self.world == 1:
            return 0.0
        inside = traffic.carried * (self.world - 1) / self.world / self.card.link
        nodes = -(-self.world // self.card.per_node)
        adapters = self.card.per_node * self.card.network
        between = traffic.carried * (nodes - 1) / nodes / adapters
        hops = traffic.calls * (self.world - 1) * self.shares.hop_seconds
        return hops + max(inside, between) / self.shares.network


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step; W processes with N prompts each."""

    prompts: float
    decode: float
    sampler: float  # gathering what decodes
    reference: float  # the longer of computing and gathering
    update: float  # likewise
    adamw: float
    update_network: float  # of the update's seconds, were there nothing to compute
    reference_network: float
    completion_tokens: int  # of all processes

    @property
    def rollout(self) -> float:
        """Prompts and decoding."""
        return self.prompts + self.decode

    @property
    def total(self) -> float:
        """All of them, one after the other."""
        return self.rollout + self.sampler + self.reference + self.update + self.adamw

    @property
    def tokens_per_second(self) -> float:
        """Completion tokens sampled and trained on, of all processes."""
        return self.completion_tokens / self.total

    @property
    def dominating(self) -> str:
        """What takes most of it: rollout, reference, update or network.

        Network is what gathering the sampler takes, and passes that wait for what is gathered.
        """
        network = self.sampler
        parts = {"rollout": self.rollout, "update": self.adamw, "reference": 0.0}
        for name in ("update", "reference"):
            seconds, of_network = getattr(self, name), getattr(self, f"{name}_network")
            if of_network >= seconds:
                network += seconds
            else:
                parts[name] += seconds
        parts["network"] = network
        return max(parts, key=lambda part: parts[part])


def step_time(
    flops: StepFlops,
    sent: Communication,
    text: TextSizes,
    shards: Shards,
    work: Workload,
    machine: Machine,
) -> StepTime:
    """Return the seconds of a step in bfloat16; `work` is what one process has."""
    update, update_network = _update(flops, sent, machine)
    reference_network = machine.send(sent.reference)
    held, _ = shards.largest_and_smallest(machine.world)
    return StepTime(
        prompts=machine.compute(flops.prompts),
        decode=decode_seconds(text, work, machine),
        sampler=machine.send(sent.sampler),
        reference=max(machine.compute(flops.reference), reference_network),
        update=max(update, update_network),
        adamw=machine.read(ADAMW_BYTES * held),
        update_network=update_network,
        reference_network=reference_network,
        completion_tokens=work.scored * machine.world,
    )


def _update(flops: StepFlops, sent: Communication, machine: Machine) -> tuple[float, float]:
    network = sum(machine.send(part) for part in (sent.forward, sent.backward, sent.reductions))
    return machine.compute(flops.update + flops.recomputed), network


def decode_seconds(text: TextSizes, work: Workload, machine: Machine) -> float:
    """Return the seconds of decoding C tokens of B rows: C - 1 steps, and C times the logits.

    Step t reads all weights once, each prompt's keys and values once per group, and t tokens' of
    each row.
    """
    seconds = 0.0
    logits = machine.shares.logit_passes * 4 * work.B * text.vocabulary
    for token in range(1, work.C):
        read = 2 * (text.decode_weights + _cached(text, work.N * work.P + work.B * token))
        flops = work.B * (2 * text.decode_weights + _attended(text, work.P + token))
        seconds += max(machine.read(read + logits), machine.compute(flops))
    first = 2 * text.vocabulary * text.width  # the head, on what the prompts' pass has left
    return seconds + machine.read(first + logits)


def _cached(text: TextSizes, tokens: int) -> int:
    """Return the numbers of keys and values of so many tokens: 2 L Hkv d each."""
    return 2 * text.layers * text.kv_width * tokens


def _attended(text: TextSizes, tokens: int) -> int:
    """Return the operations of one query that reads so many tokens, in all layers: 4 L H d each."""
    return 4 * text.layers * text.width * tokens
