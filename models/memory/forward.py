"""What autograd keeps of one forward, and what comes and goes while a layer runs, in bytes.

Counted are the tensors as large as the tokens, from what the layers do (models/shared/layers.py,
models/vision/tower.py), not scalars and indices: docs/memory.md lists them layer by layer.

Letters: N prompts, M rows, P prompt tokens, C completion tokens that are fed, T = N P + M C packed
tokens, K image patches; D hidden size, F width of the MLP, k elements of a token's keys.
"""

from dataclasses import dataclass, replace

from models.memory.sizes import ModelSizes, Stack


@dataclass(frozen=True)
class Numbers:
    """How the numbers of a pass are kept."""

    size: int  # bytes of one, 2 or 4
    padded: bool  # attention over rectangles; else varlen flash reads the packed row as it lies

    @property
    def half(self) -> bool:
        """Whether norms widen what they read."""
        return self.size == 2

    def rms_norm(self, hidden: int, *, frozen: bool = False) -> int:
        """Of a token: what is read, normed, and normed times the weight.

        What is read is kept in float32: a copy of its own in half precision, else the residual sum
        itself. A frozen norm before frozen matrices keeps no more than that.
        """
        return hidden * (4 if frozen else 4 + 2 * self.size)


@dataclass(frozen=True)
class TextPass:
    """A packed row through the decoder."""

    sizes: ModelSizes
    numbers: Numbers
    prompts: int  # N
    prompt_tokens: int  # P
    rows: int  # M
    fed: int  # C
    apart: bool = False  # prompts were run before, and completions go on from them
    adapted: int | None = None  # inputs of a layer's adapters; None: the layers are trained
    whole: bool = False  # the last layer is called as it is

    @property
    def _cut(self) -> bool:
        """Whether the last layer is run for the tokens that are read alone."""
        return self.numbers.padded and not self.whole

    @property
    def alone(self) -> "TextPass":
        """The same prompts without completions."""
        return replace(self, rows=self.prompts, fed=0, apart=False)

    @property
    def of_prompts(self) -> int:
        """N P."""
        return self.prompts * self.prompt_tokens

    @property
    def of_rows(self) -> int:
        """M C."""
        return self.rows * self.fed

    @property
    def tokens(self) -> int:
        """T."""
        return self.of_prompts + self.of_rows

    @property
    def read(self) -> int:
        """Tokens that the last layer runs whole: where it is cut, those that somebody reads."""
        return self.prompts + self.of_rows if self._cut else self.tokens

    def kept(self, *, checkpointing: bool) -> int:
        """Bytes of the whole pass, from embeddings to the states that predict."""
        text = self.sizes.text
        inputs = self.tokens * text.hidden * self.numbers.size
        if checkpointing:
            return self.ends + text.depth * inputs
        return self.ends + (text.depth - 1) * self.layer + self.last_layer

    @property
    def ends(self) -> int:
        """Rotary tables, masks, and the last norm of the states that predict a token."""
        predicting = self.of_rows + self.rows if self.fed else self.prompts
        return self.start + predicting * self.numbers.rms_norm(self.sizes.text.hidden)

    @property
    def start(self) -> int:
        """Rotary tables and masks, which are there until the first layer is differentiated."""
        return 2 * self.tokens * self.sizes.text.head_size * 4 + self._mask

    @property
    def layer(self) -> int:
        """Bytes of one layer that is run for all tokens."""
        text, size = self.sizes.text, self.numbers.size
        norms = 2 * self.numbers.rms_norm(text.hidden, frozen=self.adapted is not None)
        widths = 4 if self.adapted is None else 3  # a frozen matrix does not keep its input
        each = norms + widths * text.width * size + self._adapter_inputs()
        return self.tokens * each + self._attention

    def _adapter_inputs(self, *, first: bool = True, rest: bool = True) -> int:
        """Return what a token's adapters keep: each its input in float32, a copy in half precision.

        In float32 those of query, key and value are one tensor, as those of gate and up, and the
        output projection's is counted with the attention.

        Args:
            first: those of query, key and value.
            rest: the others.
        """
        if self.adapted is None:
            return 0
        hidden, shared = self.sizes.text.hidden, 0 if self.numbers.half else 1
        of_first = min(self.adapted, (3 - 2 * shared) * hidden) if first else 0
        others = max(0, self.adapted - 3 * hidden)
        return 4 * (of_first + (max(0, others - 2 * shared * hidden) if rest else 0))

    @property
    def last_layer(self) -> int:
        """Bytes of the last one, whose queries, output and MLP are run for the tokens read."""
        if not self._cut:
            return self.layer
        text, size, frozen = self.sizes.text, self.numbers.size, self.adapted is not None
        norm, widths = self.numbers.rms_norm(text.hidden, frozen=frozen), 3 if frozen else 4
        first = self.tokens * (norm + 2 * text.keys * size + self._adapter_inputs(rest=False))
        rest = norm + (3 * text.hidden + widths * text.width) * size
        rest += self._adapter_inputs(first=False)
        own = 2 * self.of_rows * text.hidden * size
        return first + self.read * rest + own + self._copies

    @property
    def _attention(self) -> int:
        """Queries, keys, values, what was read, and its log-sum-exp, 4 H bytes a token."""
        text, size = self.sizes.text, self.numbers.size
        every = self.tokens * ((2 * text.hidden + 2 * text.keys) * size + 4 * text.heads)
        if not self.numbers.padded or not self.fed:
            return every
        # Rows are folded to rectangles of their own, and what is read is joined again.
        joined = self.of_rows if self.apart else self.tokens
        queries = 0 if self.apart else self.of_rows
        return every + (joined + queries) * text.hidden * size + self._copies

    @property
    def _merges(self) -> bool:
        """Whether completions read their prompt without a copy: see models/shared/merged.py."""
        shared = self.rows % self.prompts == 0 and self.rows > self.prompts
        return shared and self.prompt_tokens >= 4 * self.fed > 0

    @property
    def _copies(self) -> int:
        """Each row's prompt copied in front of it, keys and values."""
        if not self.numbers.padded or not self.fed or self._merges:
            return 0
        slots = self.rows * (self.prompt_tokens + self.fed)
        return 2 * slots * self.sizes.text.keys * self.numbers.size

    @property
    def _mask(self) -> int:
        if not self.numbers.padded or not self.fed:
            return 0
        queries = self.fed * self.sizes.text.hidden // self.sizes.text.keys
        slots = self.fed if self._merges else self.prompt_tokens + self.fed
        return queries * slots * self.numbers.size

    @property
    def working(self) -> int:
        """Bytes of gradients while a layer's MLP is differentiated, whose product is gone."""
        text = self.sizes.text
        adapter = 0  # the gradient of its float32 input, and its copy in half precision
        if self.adapted is not None and self.numbers.half:
            adapter = 6 * text.width
        return self.tokens * ((text.hidden + 2 * text.width) * self.numbers.size + adapter)

    def backward(self, *, checkpointing: bool, to_go: int | None = None) -> int:
        """Bytes while a layer that runs for all tokens is differentiated.

        Args:
            checkpointing: whether its activations are computed again.
            to_go: how many layers are left, itself included; by default all of them.
        """
        text = self.sizes.text
        if to_go is None:  # a last layer that is cut is narrower
            to_go = text.depth - 1 if self._cut else text.depth
        if not checkpointing:
            return self.start + to_go * self.layer + self.working
        # In float32 a layer's input is also what its first norm keeps.
        inputs = to_go - (0 if self.numbers.half else 1)
        state = self.tokens * text.hidden * self.numbers.size
        return self.start + inputs * state + self.layer + self.working

    def frozen(self) -> int:
        """Bytes of a pass without gradient: the widest moment of one layer."""
        text = self.sizes.text
        return self.tokens * (3 * text.width + 3 * text.hidden) * self.numbers.size + self.ends


@dataclass(frozen=True)
class VisionPass:
    """Image patches through the tower."""

    sizes: ModelSizes
    numbers: Numbers
    patches: int  # K

    def kept(self, *, checkpointing: bool) -> int:
        """Bytes of the whole pass, pixels and features included."""
        tower = self.sizes.tower
        if checkpointing:
            return self.ends + self.patches * tower.depth * tower.hidden * self.numbers.size
        return self.ends + tower.depth * self.block

    @property
    def ends(self) -> int:
        """Pixels, rotary tables, and the merger with its features."""
        tower, size = self.sizes.tower, self.numbers.size
        merger = self._norm(tower) + 2 * tower.hidden * size
        features = self.sizes.text.hidden * size // self.sizes.merge
        return self.start + self.patches * (merger + features)

    @property
    def start(self) -> int:
        """Pixels and rotary tables, which are there until the first block is differentiated."""
        tables = 2 * 4 * self.sizes.tower.head_size
        return self.patches * (self.sizes.pixels * self.numbers.size + tables)

    @property
    def block(self) -> int:
        """Bytes of one block.

        Two norms; queries, keys and values as they are projected, queries and keys rotated, what
        was read and its copy (7 E); and the widths of the MLP.
        """
        tower, size = self.sizes.tower, self.numbers.size
        widths = 4 if tower.is_gated else 3
        each = 2 * self._norm(tower) + 4 * tower.heads
        return self.patches * (each + (7 * tower.hidden + widths * tower.width) * size)

    def _norm(self, tower: Stack) -> int:
        # a LayerNorm keeps its input and gives its output
        if tower.is_gated:
            return self.numbers.rms_norm(tower.hidden)
        return 2 * tower.hidden * self.numbers.size

    def backward(self, *, checkpointing: bool) -> int:
        """Bytes while the last block's MLP is differentiated, those kept before it included."""
        tower, size = self.sizes.tower, self.numbers.size
        working = self.patches * (2 * tower.width + tower.hidden) * size
        inputs = self.patches * tower.depth * tower.hidden * size if checkpointing else 0
        blocks = 1 if checkpointing else tower.depth
        return self.start + inputs + blocks * self.block + working

    def frozen(self) -> int:
        """Bytes of a pass without gradient: the widest moment of one block, and the pixels."""
        tower, size = self.sizes.tower, self.numbers.size
        return self.patches * (self.sizes.pixels + 3 * tower.width + 3 * tower.hidden) * size
