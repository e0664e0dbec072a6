"""Floating-point operations of the passes of a step: matrix products, counted as torch counts them.

A product of (m, k) and (k, n) is 2 m k n; norms, softmax and sums are left out, as everywhere. The
letters are those of scripts/scale/workload.py, D, F, L, V, H, Hkv, d those of the text
(scripts/scale/sizes.py). tests/project/test_scale_flops.py holds every formula against
torch.utils.flop_counter, to the last operation.
"""

from dataclasses import astuple, dataclass, fields

from scripts.scale.sizes import Sizes, TextSizes, VisionSizes
from scripts.scale.workload import Workload


@dataclass(frozen=True)
class Flops:
    """Operations by what their backward costs."""

    linear: int = 0  # products with a weight; their backward is two such: of input and of weight
    attention: int = 0  # queries with keys, shares with values; backward five products for two
    head: int = 0  # logits of the vocabulary; the backward makes them again, then is two
    patches: int = 0  # the tower's first product; pixels have no gradient
    spared: int = 0  # of linear: what checkpointing need not run again

    @property
    def total(self) -> int:
        return self.linear + self.attention + self.head + self.patches

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, number: int) -> "Flops":
        """Return those of so many such passes."""
        return Flops(*(number * part for part in astuple(self)))

    def backward(self) -> int:
        """Return the operations of a backward through this forward."""
        return 2 * self.linear + 5 * self.attention // 2 + 3 * self.head + self.patches


@dataclass(frozen=True)
class StepFlops:
    """A step's operations of one process, by phase."""

    prompts: int  # of the rollout: prompts and images
    decode: int
    reference: int
    update: int  # forward and backward
    recomputed: int  # of the update's backward, under gradient checkpointing

    @property
    def rollout(self) -> int:
        return self.prompts + self.decode

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def step_flops(sizes: Sizes, work: Workload) -> StepFlops:
    """Return the operations of one process in one step, one pass over the completions.

    A frozen tower's features are kept (models/vision/features.py): an image then costs one pass
    over the tower in the whole run, which is left out here.
    """
    tower = Flops() if work.frozen_vision else vision_flops(sizes.vision, work.K).times(work.N)
    prompts = prompt_flops(sizes.text, work) + tower
    # A group that is cut runs its prompt and its image once for each piece.
    scored = scored_flops(sizes.text, work) + tower.times(work.pieces)
    forward = scored if not work.shares_prompt_pass else completion_flops(sizes.text, work)
    behind = forward if not work.shares_prompt_pass else forward + prompts
    return StepFlops(
        prompts=prompts.total,
        decode=decode_flops(sizes.text, work).total,
        reference=scored.total if work.reference else 0,
        update=forward.total + behind.backward(),
        recomputed=recomputed_flops(sizes, work) if work.checkpointing else 0,
    )


# --- text ---------------------------------------------------------------------------------------


def _projections(text: TextSizes) -> tuple[int, int]:
    """Return 2 (D D + D D) and 2 (2 D Hkv d) of a token in a layer: of q and o, of k and v."""
    return 4 * text.width**2, 4 * text.width * text.kv_width


def _mlp(text: TextSizes) -> int:
    """Return 2 (3 D F) of a token in a layer."""
    return 6 * text.width * text.mlp


def _per_token(text: TextSizes) -> int:
    return sum(_projections(text)) + _mlp(text)


def _pairs(text: TextSizes, pairs: int) -> int:
    """Return 4 H d for each query that reads a key, in a layer: a score, and a share of a value."""
    return 4 * text.heads * text.head_size * pairs


def _prompt_pairs(work: Workload) -> int:
    """Return how often a prompt's token reads another: a causal kernel leaves out the upper half.

    torch counts the whole square, which is also what is computed where nothing fuses.
    """
    return work.P * (work.P + 1) // 2 if work.varlen else work.P**2


def _completion_pairs(work: Workload) -> int:
    """Return the same of one row's fed tokens: its whole prompt, and its own up to itself."""
    fed = work.C - 1
    own = fed * (fed + 1) // 2 if work.varlen else fed**2
    return fed * work.P + own


def prompt_flops(text: TextSizes, work: Workload) -> Flops:
    """Return those of the decoder over N prompts alone: all that a rollout needs of them."""
    # By the policy that decodes, which is never sharded.
    return _decoder(text, work, work.varlen, prompts=work.N, tokens=0, rows=0)


def scored_flops(text: TextSizes, work: Workload) -> Flops:
    """Return those of the decoder and the head over whole groups, their prompts shared."""
    prompts = work.N * work.pieces
    body = _decoder(
        text, work, work.runs_last_layer_whole, prompts=prompts, tokens=work.fed, rows=work.B
    )
    return body + head_flops(text, work.scored)


def completion_flops(text: TextSizes, work: Workload) -> Flops:
    """Return those of decoder and head over completions that go on from a pass of the prompts."""
    linear = text.layers * work.fed * _per_token(text)
    attention = text.layers * _pairs(text, work.B * _completion_pairs(work))
    return Flops(linear=linear, attention=attention) + head_flops(text, work.scored)


def _decoder(
    text: TextSizes, work: Workload, whole: bool, *, prompts: int, tokens: int, rows: int
) -> Flops:
    """Return those of all layers; unless it is to be whole, of the last only what is read."""
    packed = prompts * work.P + tokens
    of_rows = rows * _completion_pairs(work)
    pairs = prompts * _prompt_pairs(work) + of_rows
    layers = text.layers - (not whole)
    linear = layers * packed * _per_token(text)
    spared = layers * packed * 2 * text.width * text.mlp
    attention = layers * _pairs(text, pairs)
    if not whole:
        # Keys and values of every token; the rest for each prompt's last and for completions.
        queries, keys = _projections(text)
        read = prompts + tokens
        linear += packed * keys + read * (queries + _mlp(text))
        spared += read * 2 * text.width * text.mlp
        attention += _pairs(text, prompts * work.P + of_rows)
    return Flops(linear=linear, attention=attention, spared=spared)


def head_flops(text: TextSizes, tokens: int) -> Flops:
    """Return those of the logits of so many tokens."""
    return Flops(head=2 * text.width * text.vocabulary * tokens)


def decode_flops(text: TextSizes, work: Workload) -> Flops:
    """Return those of decoding C tokens per row: the first is predicted by the prompt's pass.

    Step t = 1 .. C - 1 feeds one token, which reads its prompt and t tokens of its row.
    """
    steps = work.C - 1
    linear = text.layers * steps * work.B * _per_token(text)
    pairs = work.B * (steps * work.P + steps * (steps + 1) // 2)
    body = Flops(linear=linear, attention=text.layers * _pairs(text, pairs))
    return body + head_flops(text, work.B * work.C)


# --- vision -------------------------------------------------------------------------------------


def vision_flops(vision: VisionSizes, patches: int) -> Flops:
    """Return those of the tower over one image."""
    blocks = _vision_blocks(vision, patches)
    merged = vision.merged * vision.width
    merger = patches // vision.merged * 2 * merged * (merged + vision.out)
    first = 2 * patches * vision.patch * vision.width
    return blocks + Flops(linear=merger, patches=first)


def _vision_blocks(vision: VisionSizes, patches: int) -> Flops:
    products = (3 if vision.gated else 2) * vision.mlp
    linear = 2 * patches * vision.width * (4 * vision.width + products)
    windowed = vision.blocks - vision.full_blocks
    pairs = vision.full_blocks * patches**2 + windowed * _window_pairs(vision, patches)
    return Flops(
        linear=vision.blocks * linear,
        attention=4 * vision.width * pairs,
        spared=vision.blocks * 2 * patches * vision.width * vision.mlp,
    )


def _window_pairs(vision: VisionSizes, patches: int) -> int:
    """Return how often patches read each other where a square image is cut into windows."""
    if not vision.window:
        return 0
    side, window = round(patches**0.5), round(vision.window**0.5)
    rest = side % window
    lengths = [window] * (side // window) + [rest] * (rest > 0)
    return sum((a * b) ** 2 for a in lengths for b in lengths)


# --- checkpointing ------------------------------------------------------------------------------


def recomputed_flops(sizes: Sizes, work: Workload) -> int:
    """Return what the backward runs again: layers and blocks, but for the last product of each.

    torch stops recomputing where nothing more was kept, which is before the MLP's last product.
    """
    body = scored_flops(sizes.text, work)
    again = body.linear + body.attention - body.spared
    if work.frozen_vision:
        return again
    blocks = _vision_blocks(sizes.vision, work.K).times(work.N * work.pieces)
    return again + blocks.linear + blocks.attention - blocks.spared
