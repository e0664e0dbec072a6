"""What a step holds in memory, part by part, from every allocation that torch makes on a CPU.

torch's profiler notes each block that the allocator hands out or takes back, those inside of its
own operators too. A block belongs to the part of the run that asked for it: to the call around it
(`marks`), or to the tensor that it turns out to be (a gradient). What stood before the step is
counted tensor by tensor.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol

from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from grpo.clock import StepClock
from models.decode import eager
from models.policy import Policy

_MARK, _MOMENT, _GRADIENTS = "memory/", "moment/", "gradients/"


@dataclass(frozen=True)
class Block:
    """One event: a block that is taken, or given back (negative bytes)."""

    address: int
    size: int
    moment: str  # "1 update": the step, and its part as the clock names it
    operators: tuple[str, ...]  # the calls around it, outermost first

    @property
    def mark(self) -> str:
        """The innermost marked call around it, "" where there is none."""
        found = [name for name in self.operators if name.startswith(_MARK)]
        return found[-1].removeprefix(_MARK) if found else ""


def _last(block: Block) -> str:
    return block.operators[-1] if block.operators else ""


@dataclass
class Counted:
    """Peaks in bytes."""

    total: int = 0
    moment: str = ""  # of the total's peak
    at_peak: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)  # each one's own peak
    moments: dict[str, int] = field(default_factory=dict)  # the sum's peak by part of the step


class Subject(Protocol):
    """What is counted: two models, an optimizer; called, it takes a step of that number."""

    policy: Policy
    reference: Policy | None
    optimizer: Any

    def __call__(self, index: int, clock: StepClock, /) -> None: ...


def count_steps(subject: Subject, steps: int = 2) -> Counted:
    """Return the peaks of the last of these steps; the first ones make moments and gradients."""
    policy, optimizer = subject.policy, subject.optimizer
    stands = {
        "weights": _bytes([*policy.parameters(), *policy.buffers()]),
        "master": _bytes(m for n, m in optimizer.masters.items() if m is not optimizer.weights[n]),
    }
    copy = policy.sampler() if policy.decoding_copy is not None else policy
    ours = {_address(tensor) for tensor in policy.parameters()}
    stands["sampler"] = _bytes(t for t in copy.parameters() if _address(t) not in ours)
    if subject.reference is not None:
        shared = {tensor.untyped_storage().data_ptr() for tensor in policy.parameters()}
        own = [t for t in subject.reference.parameters() if _address(t) not in shared]
        stands["reference"] = _bytes(own)
    gradients: list[set[int]] = []  # addresses at every update
    with ExitStack() as stack:
        stack.enter_context(_noted_gradients(optimizer, gradients))
        for owner, name, mark in _marks(subject):
            stack.enter_context(_marked(owner, name, mark))
        profiled = stack.enter_context(
            profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        )
        for index in range(steps):
            subject(index, StepClock(policy.device, on_part=_moment(index)))
        state = optimizer.adamw.state.values()
        moments = {_address(v) for entry in state for v in entry.values() if v.dim()}
    events = profiled.profiler.kineto_results.experimental_event_tree()
    blocks = list(_blocks(events))
    lasting, pending = _lasting(blocks, gradients), _pending(blocks)
    part_of = _PartOf(
        lasting | pending, pending, moments, policy.output_weight.numel(), policy.dtype.itemsize
    )
    return _peaks(blocks, stands, part_of, last=f"{steps - 1} ")


def _marks(subject: Subject) -> Iterator[tuple[Any, str, str]]:
    """Yield what is marked: an owner, its function's name, and the mark."""
    sampler = subject.policy.sampler()
    if sampler is not subject.policy:
        yield subject.policy, "sampler", "sampler"
    # each once: marked twice, it would not be restored
    for policy in {id(p): p for p in (subject.policy, sampler, subject.reference)}.values():
        if policy is not None:
            yield policy, "run_prompts", "activations"
            yield policy, "scored_hidden", "activations"
            yield policy, "prefill", "decode step"
            yield policy, "decode", "decode step"
    yield subject.optimizer, "step", "optimizer"
    yield eager, "reader_for", "prompt cache"
    yield eager, "_cache", "decode cache"
    yield eager, "FusedWeights", "decode weights"


@contextmanager
def _marked(owner: Any, name: str, mark: str) -> Iterator[None]:
    function = getattr(owner, name)
    was_own = name in vars(owner)

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with record_function(_MARK + mark):
            return function(*args, **kwargs)

    setattr(owner, name, inside)
    try:
        yield
    finally:
        setattr(owner, name, function) if was_own else delattr(owner, name)


@contextmanager
def _noted_gradients(optimizer: Any, noted: list[set[int]]) -> Iterator[None]:
    """Note, whenever the optimizer moves the weights, which blocks are gradients."""
    step = optimizer.step

    def noting(*args: Any) -> Any:
        noted.append({_address(m.grad) for m in optimizer.masters.values() if m.grad is not None})
        with record_function(_GRADIENTS):
            pass
        return step(*args)

    optimizer.step = noting
    try:
        yield
    finally:
        del optimizer.step


def _moment(step: int) -> Callable[[str], None]:
    def begin(part: str) -> None:
        with record_function(f"{_MOMENT}{step} {part}"):
            pass

    return begin


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the tensors' storages, each once."""
    return sum({_address(t): t.untyped_storage().nbytes() for t in tensors}.values())


def _blocks(events: Sequence[Any]) -> Iterator[Block]:
    """Yield the blocks of a profile's events, in the order of time."""
    found: list[tuple[int, int, int, tuple[str, ...]]] = []

    def walk(siblings: Sequence[Any], above: tuple[str, ...]) -> None:
        for event in siblings:
            if hasattr(event.extra_fields, "alloc_size"):
                extra = event.extra_fields
                found.append((event.start_time_ns, extra.ptr, extra.alloc_size, above))
            elif event.name.startswith((_MOMENT, _GRADIENTS)):
                found.append((event.start_time_ns, 0, 0, (event.name,)))
            else:
                walk(event.children, (*above, event.name))

    walk(events, ())
    moment = ""
    for _, address, size, above in sorted(found, key=lambda item: item[0]):
        if size == 0 and above[0] != _GRADIENTS:
            moment = above[0].removeprefix(_MOMENT)
        else:
            yield Block(address, size, moment, above)


def _lasting(blocks: Sequence[Block], gradients: Sequence[set[int]]) -> set[int]:
    """Return the places in the list of the blocks that are gradients when weights move."""
    newest: dict[int, int] = {}
    lasting: set[int] = set()
    updates = iter(gradients)
    for place, block in enumerate(blocks):
        if block.size > 0:
            newest[block.address] = place
        elif block.size == 0:
            lasting |= {newest[address] for address in next(updates) if address in newest}
    return lasting


def _pending(blocks: Sequence[Block]) -> set[int]:
    """Return the places of blocks that wait to be added to a gradient, or to be rounded to one."""
    made: dict[int, int] = {}
    pending: set[int] = set()
    for place, block in enumerate(blocks):
        if block.size > 0:
            made[block.address] = place
        # who drops a block last is whose it was
        elif _last(block).endswith(("TBackward0", "AccumulateGrad")) and block.address in made:
            pending.add(made[block.address])
    return pending


@dataclass
class _PartOf:
    """Says whose a new block is."""

    gradients: set[int]  # places of the blocks that become gradients, or are added to one
    pending: set[int]  # places of the latter
    moments: set[int]  # addresses of the optimizer's moments
    embedding: int  # V D
    itemsize: int

    def __call__(self, place: int, block: Block) -> str:
        is_matrix = block.size in (4 * self.embedding, self.itemsize * self.embedding)
        if place in self.gradients and not (is_matrix and place in self.pending):
            return "gradients"
        if block.mark == "optimizer":
            return "moments" if block.address in self.moments else "optimizer"
        updates = block.moment.endswith("update")
        if any(name.startswith("groupwise::token_logprobs") for name in block.operators):
            # of the op's own blocks only the weight's gradient leaves it
            return "embedding" if is_matrix and "aten::empty_like" in block.operators else "tiles"
        if updates and is_matrix:
            return "embedding"
        if block.mark:
            return block.mark
        return "decode step" if block.moment.endswith("rollout") else "activations"


def _peaks(
    blocks: Sequence[Block], stands: dict[str, int], part_of: _PartOf, *, last: str
) -> Counted:
    counted, now, owners = Counted(), dict(stands), {}
    for place, block in enumerate(blocks):
        if block.size > 0:
            part = owners[block.address] = part_of(place, block)
        else:  # of an address that nobody has, such as an update's mark
            part = owners.pop(block.address, "")
        if not part:  # of before the first step
            continue
        now[part] = now.get(part, 0) + block.size
        if not block.moment.startswith(last):
            continue
        moment, total = block.moment.removeprefix(last), sum(now.values())
        for name, size in now.items():
            counted.parts[name] = max(counted.parts.get(name, 0), size)
        counted.moments[moment] = max(counted.moments.get(moment, 0), total)
        if total > counted.total:
            counted.total, counted.moment, counted.at_peak = total, moment, dict(now)
    return counted
