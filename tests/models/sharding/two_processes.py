"""What test_two_processes.py runs in two processes: a sharded policy beside a plain one, measured.

    python -m tests.models.sharding.two_processes RANK DIRECTORY

Each process has one of the sharded policy's halves and, to compare with, all of a plain policy that
is trained alone on the whole batch. The numbers are written to DIRECTORY/RANK.json.
"""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from grpo.logprobs import token_logprobs
from grpo.optimizer import PolicyOptimizer
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.lora.policy import LoraPolicy, WithoutAdapters
from models.lora.settings import LoraSettings
from models.policy import Policy
from models.sharding.filler import filler_prompt
from models.sharding.policy import ShardedPolicy, sharded_modules
from models.sharding.rows import local_rows
from models.sharding.shard import mesh_of_all, shard
from tests.models.nano import random_image

SIZE = 2
CONFIG = GRPOConfig(learning_rate=1e-3, lr_schedule="constant")


@dataclass(frozen=True)
class Case:
    """One way to load and to shard."""

    name: str
    family: str
    dtype: str = "float32"
    checkpointing: bool = False
    reshard: bool = True
    frozen: bool = False
    adapters: bool = False
    whole_layers: bool = False  # of the plain policy too: then half precision rounds alike

    def load(self, root: Path) -> Policy:
        """Return the policy that is trained, or its like."""
        policy = load_policy(
            root / self.family,
            dtype=self.dtype,
            freeze_vision=self.frozen,
            gradient_checkpointing=self.checkpointing,
        )
        if not self.adapters:
            return policy
        lora = LoraPolicy(policy, LoraSettings(4, 8, ("all-linear",)), seed=1)
        with torch.no_grad():
            for index, weight in enumerate(w for w in lora.parameters() if w.requires_grad):
                # B begins as zeros, which would hide that anything is merged
                weight.add_(torch.linspace(-0.1, 0.1, weight.numel()).view_as(weight) / (1 + index))
        return lora


CASES = (  # qwen2_vl is tied, qwen2_5_vl is not
    Case("tied", "qwen2_vl"),
    Case("kept", "qwen2_5_vl", checkpointing=True, reshard=False),
    Case("adapters", "qwen2_5_vl", "bfloat16", adapters=True, whole_layers=True),
    Case("frozen", "qwen2_vl", "bfloat16", frozen=True, reshard=False, whole_layers=True),
    Case("half", "qwen2_5_vl", "bfloat16", checkpointing=True, whole_layers=True),
)


@dataclass(frozen=True)
class Part:
    """A micro-batch: completions of one prompt, and what their tokens weigh."""

    prompts: list[Any]
    ids: Tensor  # (M, C)
    weight: float

    def logprobs(self, policy: Policy) -> Tensor:
        """Return (M * C,) with gradient, as grpo/likelihood.py computes them."""
        rows, length = self.ids.shape
        hidden = policy.scored_hidden(self.prompts, [rows], self.ids, [length] * rows)
        logprobs, _ = token_logprobs(
            hidden,
            policy.output_weight,
            self.ids.flatten(),
            temperature=1.0,
            banned_ids=policy.processor.banned_ids,
        )
        return logprobs


@dataclass
class Pair:
    """The sharded policy and the plain one, each with its optimizer."""

    case: Case
    plain: Policy
    sharded: ShardedPolicy
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimizers = [PolicyOptimizer(p, CONFIG, 9) for p in (self.plain, self.sharded)]
        for optimizer in self.optimizers:
            optimizer.start_step(0)
        self.rank = dist.get_rank()
        self.cut = {n for n, w in self.sharded.named_parameters() if hasattr(w, "device_mesh")}

    def note(self, name: str, value: Any) -> None:
        """Keep a finding; of numbers the largest."""
        if name in self.found and not isinstance(value, bool):
            value = max(value, self.found[name])
        elif name in self.found:
            value = value and self.found[name]
        self.found[name] = value

    def step(self, parts: list[list[Part]]) -> None:
        """Take an optimizer's step on what each rank has; compare all that it makes."""
        plain, sharded = self.optimizers
        plain.zero_grad()
        sharded.zero_grad()
        alone = {}
        for part in (part for own in parts for part in own):
            logprobs = part.logprobs(self.plain)
            alone[id(part)] = logprobs.detach()
            plain.backward(logprobs.sum() * part.weight)
        own = parts[self.rank]
        filler = Part([filler_prompt(self.sharded)], torch.tensor([[5]]), 0.0)
        for part in own + [filler] * (max(map(len, parts)) - len(own)):
            logprobs = part.logprobs(self.sharded)
            if part is not filler:
                self.note("logprobs", gap(logprobs, alone[id(part)]))
            sharded.backward(logprobs.sum() * part.weight)
        self.note("resharded", all(hasattr(w, "device_mesh") for w in self.cut_weights))
        # A pass without gradient gathers weights, which the step then makes old.
        with torch.no_grad():
            own[0].logprobs(self.sharded) if own else filler.logprobs(self.sharded)
        norms = [optimizer.step(1.0) for optimizer in (plain, sharded)]
        self.note("norm", abs(norms[0] - norms[1]) / (1e-30 + norms[0]))
        self._compare()

    @property
    def cut_weights(self) -> list[Tensor]:
        """What is sharded, as the modules have it now."""
        return [w for n, w in self.sharded.named_parameters() if n in self.cut]

    @property
    def weights(self) -> list[Tensor]:
        """The trained weights as modules have them now."""
        return [w for w in self.sharded.parameters() if w.requires_grad]

    def _compare(self) -> None:
        """Compare gradients, as they were clipped, weights and moments."""
        plain, sharded = self.optimizers
        for name, master in plain.masters.items():
            ours = sharded.masters[name]
            state, theirs = sharded.adamw.state[ours], plain.adamw.state[master]
            self.note("same", state.keys() == theirs.keys())
            self.note("same", (ours.grad is None) == (master.grad is None))
            told = torch.zeros_like(master, dtype=torch.bool)
            if master.grad is not None and ours.grad is not None:
                self.note("gradients", relative_gap(whole(ours.grad), master.grad))
                # AdamW makes a step of any gradient: of one that is only rounding, any step.
                told = master.grad.abs() > 1e-5
            self.note("weights", gap(whole(ours)[told], master[told]))
            if theirs:
                self.note("same", bool(state["step"] == theirs["step"]))
            for moment in sorted(set(theirs) - {"step"}):  # in the same order in both processes
                self.note(moment, relative_gap(whole(state[moment]), theirs[moment]))
            # Half precision rounds what lies between two numbers to either of them, whatever small
            # difference decides: the next step is taken from the same weights.
            with torch.no_grad():
                master.copy_(whole(ours))
                plain.weights[name].copy_(master)


def whole(tensor: Tensor) -> Tensor:
    """Return all rows of a tensor, sharded or not; both processes call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def gap(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours.detach() - theirs.detach()).abs().max()) if ours.numel() else 0.0


def relative_gap(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in units of the largest number."""
    return gap(ours, theirs) / max(1e-6, float(theirs.detach().abs().max()))


def batch(policy: Policy) -> list[list[Part]]:
    """Return what each rank has: two questions with images, and one without."""
    encode = policy.processor.encode
    prompts = [
        encode("Which plane?", [random_image(84, 56)]),
        encode("Is the lung clear, or not?", [random_image(56, 112, seed=3)]),
        encode("Hi"),
    ]
    ids = torch.arange(30).view(6, 5) % 200 + 20
    parts = [Part([p], ids[2 * i : 2 * i + 2], 0.1 * (i + 1)) for i, p in enumerate(prompts)]
    return [parts[:2], parts[2:]]


def check_training(pair: Pair) -> None:
    """Train a few steps: with images in one rank alone, in none, and with no rows at all."""
    parts = batch(pair.plain)
    pair.step(parts)
    pair.step(parts[::-1])
    text = parts[1][0]
    pair.step([[text], [replace(text, ids=text.ids + 1)]])  # the tower sees no image
    pair.step([[], []])


def check_sampler(pair: Pair) -> None:
    """Compare the copy that decodes with a plain policy of the same weights, and its life."""
    sampler = pair.sharded.sampler()
    where = [w.data_ptr() for w in sampler.parameters()]
    like = pair.case.load(ROOT)
    weights = dict(pair.sharded.named_parameters())
    with torch.no_grad():
        for name, weight in like.named_parameters():
            weight.copy_(whole(weights[name]))
    prompts = [part.prompts[0] for own in batch(like) for part in own]
    theirs = decoded(like.sampler(), prompts)
    pair.note("sampler", all(map(torch.equal, decoded(sampler, prompts), theirs)))
    pair.note("sampler_is_kept", pair.sharded.sampler() is sampler)
    pair.note("tower_is_shared", (sampler.visual is pair.sharded.visual) == pair.case.frozen)

    pair.step(batch(pair.plain))
    before = sampler.text.layers[0].self_attn.q_proj.weight.clone()
    moved = pair.sharded.sampler()
    pair.note(
        "sampler_moves", not torch.equal(before, moved.text.layers[0].self_attn.q_proj.weight)
    )
    pair.note("addresses", where == [w.data_ptr() for w in moved.parameters()])
    logprobs = decoded(moved, prompts)
    copy = pair.sharded.decoding_copy
    assert copy is not None
    pair.sharded.rollout_is_over()
    pair.note("stays", where == [w.data_ptr() for w in moved.parameters()])
    pair.sharded.keeps_decoding_copy = False
    pair.sharded.rollout_is_over()
    own = [w for n, w in copy._plain.named_parameters() if n in pair.cut]
    pair.note("freed", not any(w.numel() for w in own))
    again = decoded(pair.sharded.sampler(), prompts)
    pair.note("sampler_comes_back", all(map(torch.equal, again, logprobs)))
    try:
        pair.sharded.prefill(prompts, [1] * len(prompts), 2)
    except RuntimeError as error:
        pair.note("prefill", "sampler()" in str(error))


@torch.no_grad()
def decoded(policy: Policy, prompts: list[Any]) -> list[Tensor]:
    """Return hidden states of prompts, and of one token more."""
    state, first = policy.prefill(prompts, [2] * len(prompts), 2)
    return [first, policy.decode(state, torch.arange(2 * len(prompts)))]


@torch.no_grad()
def check_passes(pair: Pair) -> None:
    """Compare the passes without gradient: prompts alone, images, and a frozen reference's."""
    own = batch(pair.plain)[0][pair.rank].prompts
    ours, theirs = pair.sharded.run_prompts(own), pair.plain.run_prompts(own)
    tensors = [[p.last_hidden, *(t for kv in p.keys_values for t in kv)] for p in (ours, theirs)]
    pair.note("prompts", max(map(relative_gap, *tensors)))
    if not pair.case.frozen:
        found = [p.image_features(own)[0] for p in (pair.sharded, pair.plain)]
        pair.note("features", relative_gap(*found))
    pair.sharded.free_gathered()

    if pair.case.adapters:
        for part in batch(pair.plain)[0][pair.rank : pair.rank + 1]:
            found = [part.logprobs(WithoutAdapters(p)) for p in (pair.sharded, pair.plain)]
            pair.note("reference", gap(*found))
        pair.sharded.free_gathered()
        return
    reference = pair.case.load(ROOT)
    reference.requires_grad_(False)
    plain = pair.case.load(ROOT)
    if pair.case.whole_layers:
        call_whole_layers(plain)
    spread = shard(reference, mesh_of_all(torch.device("cpu")), decodes=False)
    pair.note("reference_shares", spread.share_vision(pair.sharded) == pair.case.frozen)
    parts = batch(plain)
    filler = Part([filler_prompt(plain)], torch.tensor([[5]]), 0.0)
    for part in [*parts[pair.rank], filler][:2]:
        pair.note("reference", gap(part.logprobs(spread), part.logprobs(plain)))
    spread.free_gathered()
    pair.note("reference_is_frozen", not any(p.requires_grad for p in spread.parameters()))
    pair.note("reference_is_cut", all(hasattr(p, "device_mesh") for p in spread.text.parameters()))


def check_rows(pair: Pair) -> None:
    """Compare where each process's rows begin with the whole tensor."""
    for weight in pair.cut_weights:
        first, rows = local_rows(weight)
        every = whole(weight.detach())
        pair.note("rows", torch.equal(rows, every[first : first + len(rows)]))
        counts = [torch.zeros(2, dtype=torch.int64) for _ in range(SIZE)]
        dist.all_gather(counts, torch.tensor([first, len(rows)]))
        ends = [0, *(int(count.sum()) for count in counts)]
        starts = [*(int(count[0]) for count in counts), len(every)]
        pair.note("rows_follow", starts == ends)


def check_explosion(pair: Pair) -> None:
    """Let one rank's loss be NaN: no rank may move."""
    optimizer = pair.optimizers[1]
    before = [whole(w.detach()).clone() for w in pair.weights]
    optimizer.zero_grad()
    part = batch(pair.plain)[0][pair.rank]
    optimizer.backward(part.logprobs(pair.sharded).sum() * (float("nan") if pair.rank else 1.0))
    norm = optimizer.step(1.0)
    pair.note("nan_skips", norm != norm and optimizer.has_skipped)
    after = [whole(w.detach()).clone() for w in pair.weights]
    pair.note("nan_moves_nothing", all(map(torch.equal, before, after)))


def call_whole_layers(policy: Policy) -> None:
    """Make a plain policy call its last layer as a sharded one must."""
    kind = type("Whole", (type(policy),), {"calls_whole_layers": True})
    policy.__class__ = kind


def measured(case: Case) -> dict[str, Any]:
    """Return what is found of one case."""
    plain = case.load(ROOT)
    if case.whole_layers:
        call_whole_layers(plain)
    mesh = mesh_of_all(torch.device("cpu"))
    sharded = shard(case.load(ROOT), mesh, reshard_after_forward=case.reshard)
    with torch.no_grad():  # gathers weights that an optimizer must not take for the shards
        batch(plain)[0][0].logprobs(sharded)
    pair = Pair(case, plain, sharded)
    pair.note("modules", len(list(sharded_modules(sharded))))
    pair.note("dtypes", {w.dtype for w in pair.weights} == {torch.float32})
    pair.note("working_dtype", sharded.dtype == plain.dtype)
    pair.note("keeps_no_pass", not sharded.keeps_prompt_passes)
    for check in (check_training, check_sampler, check_passes, check_rows, check_explosion):
        check(pair)
    return pair.found


if __name__ == "__main__":
    rank, ROOT = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{ROOT / 'meeting'}", rank=rank, world_size=SIZE
    )
    findings = {case.name: measured(case) for case in CASES}
    (ROOT / f"{rank}.json").write_text(json.dumps(findings))
    dist.destroy_process_group()
