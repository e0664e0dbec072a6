"""How much memory a run needs, from shapes and settings, before any weight is loaded.

What stands from step to step (standing.py), and beside it what comes and goes at each moment of a
step (decoding.py, forward.py, and here): the need is the largest of these sums.
"""

from pathlib import Path

from models.memory.forward import Numbers, TextPass, VisionPass
from models.memory.held import Held
from models.memory.parts import PARTS, MemoryEstimate, Sizes
from models.memory.sizes import ModelSizes, sizes_of
from models.memory.standing import Standing
from models.memory.work import Work

# An allowance, not a measurement: the share of what comes and goes in a step that the allocator
# holds between blocks of other sizes.
FRAGMENTED_SHARE = 0.1


def estimate_memory(model: str | Path | ModelSizes, held: Held, work: Work) -> MemoryEstimate:
    """Return what training needs of one process.

    Args:
        model: a checkpoint, of which only config.json is read, or its sizes.
        held: where its parts are.
        work: how much of a step the process has at once.

    Raises:
        ValueError: as `sizes_of`.
    """
    sizes = model if isinstance(model, ModelSizes) else sizes_of(model)
    return _Estimator(sizes, held, work).estimate()


class _Estimator:
    """The sums of one estimate."""

    def __init__(self, sizes: ModelSizes, held: Held, work: Work) -> None:
        self.sizes, self.held, self.work = sizes, held, work
        self.numbers = Numbers(held.size, held.padded)
        # The prompts' pass of a rollout is kept for the update where nothing stands against it.
        fits = held.samples and work.is_whole and held.padded and not held.checkpointing
        self.keeps_pass = fits and held.ranks == 1 and held.adapters is None
        self.standing = Standing(sizes, held, work, keeps_pass=self.keeps_pass)
        self.decoding = self.standing.decoding
        # A second pass over the completions runs the prompts with them.
        apart = self.keeps_pass and work.iterations == 1
        self.text = TextPass(
            sizes,
            self.numbers,
            prompts=work.prompts_at_once,
            prompt_tokens=work.prompt_tokens,
            rows=work.rows_at_once,
            fed=work.fed,
            apart=apart,
            adapted=None if held.adapters is None else held.adapters.text,
            whole=held.ranks > 1,
        )
        self.images = VisionPass(sizes, self.numbers, work.prompts_at_once * work.patches)

    def estimate(self) -> MemoryEstimate:
        """Return the parts and the moments that they are in."""
        resident, host = self.standing.resident()
        moments = {
            name: {part: size for part, size in (resident | parts).items() if size}
            for name, parts in self.moments().items()
        }
        if self.held.on_cuda:
            for parts in moments.values():
                passing = sum(size for part, size in parts.items() if part not in resident)
                parts["fragmentation"] = round(FRAGMENTED_SHARE * passing)
        most = {
            part: max(parts.get(part, 0) for parts in moments.values())
            for part in PARTS
            if any(parts.get(part) for parts in moments.values())
        }
        return MemoryEstimate(moments, most, host)

    # The moments of a step

    def moments(self) -> dict[str, Sizes]:
        """Return what comes and goes, by moment of a step."""
        moments: dict[str, Sizes] = {}
        if self.held.samples:
            moments["rollout"] = self.rollout()
        if self.held.reference != "none" or self.work.iterations > 1:  # old log-probs, too
            moments["reference"] = self.frozen()
        moments |= self.update()
        if self.held.ranks > 1:
            for parts in moments.values():
                parts["gathered"] = self.gathered() + parts.get("gathered", 0)
        return moments

    def rollout(self) -> Sizes:
        """Return decoding, beside the prompts' own pass where that is kept."""
        kept = {"activations": self.prompts_kept()}
        held = {} if self.held.on_cuda else self.decoding.without_graphs()
        return kept | held | {"decode step": self.decoding.decode_step()}

    def prompts_kept(self) -> int:
        """Return what the prompts' pass keeps from the rollout to the update, if it is kept."""
        if not self.keeps_pass:
            return 0
        images = self.images.kept(checkpointing=False) if self.held.trains_tower else 0
        return self.text.alone.kept(checkpointing=False) + images

    def frozen(self) -> Sizes:
        """Return a pass without gradient: its widest layer, or the tiles after it."""
        held = self.held
        images = 0 if held.freeze_vision else self.images.frozen()
        passing = max(self.text.frozen(), images)
        parts = {"activations": self.prompts_kept() + passing}
        if passing < self.tiles():
            parts = {"activations": self.prompts_kept(), "tiles": self.tiles()}
        if held.reference == "cpu":
            lent = max(self.sizes.text.parameters, self.sizes.tower.parameters)
            parts["gathered"] = lent * held.size
        return parts

    def update(self) -> dict[str, Sizes]:
        """Return a micro-batch's moments: what is kept becomes less, gradients become more.

        The first one finds no gradients; the later ones find all.
        """
        checkpointing, sizes = self.held.checkpointing, self.sizes
        images, head = self.images_kept(), self.head_gradient()
        kept = self.text.kept(checkpointing=checkpointing)
        first = self.text.backward(checkpointing=checkpointing)
        moments = {
            "log-probs": {
                "activations": kept + images,
                "tiles": self.tiles(),
                "embedding": head,
            },
            "backward": {"activations": first + images, "embedding": head if sizes.tied else 0},
            "end of the text": self.end_of_text(),
            "embedding": {"activations": images, "embedding": self.embedding()},
        }
        if self.held.trains_tower:
            moments["images"] = {"activations": self.images.backward(checkpointing=checkpointing)}
        if not self.work.is_whole or self.held.offloads_optimizer:
            return moments
        trained = 4 * self.standing.trained() // self.held.ranks
        of_tower = 4 * sizes.vision // self.held.ranks if self.held.trains_tower else 0
        there = dict.fromkeys(moments, trained - of_tower) | {"log-probs": 0, "backward": 0}
        there["end of the text"] = self.gradients_of_layers() // self.held.ranks
        return {name: parts | {"gradients": there[name]} for name, parts in moments.items()}

    def gradients_of_layers(self) -> int:
        """Return the gradients that are there when the last layer of the text is differentiated.

        Where prompts were run before, those of the completions wait for theirs, as they were made.
        """
        if self.held.adapters is not None:
            return 4 * self.standing.trained()
        sizes, text = self.sizes, self.sizes.text
        head = 0 if sizes.tied else 4 * sizes.embedding
        if self.keeps_pass:
            return self.held.size * text.total + head
        return 4 * (text.total - text.parameters) + head

    def end_of_text(self) -> Sizes:
        """Return the last layer of the text that is differentiated, or the prompts' own pass."""
        head = self.head_gradient() if self.sizes.tied else 0
        if self.keeps_pass:
            kept = self.prompts_kept() + self.text.alone.working
        else:
            last = self.text.backward(checkpointing=self.held.checkpointing, to_go=1)
            kept = last + self.images_kept()
        return {"activations": kept, "embedding": head}

    def images_kept(self) -> int:
        """Return what the vision tower keeps, where a gradient goes through it."""
        if not self.held.trains_tower:
            return 0
        return self.images.kept(checkpointing=self.held.checkpointing)

    def gathered(self) -> int:
        """Return the layers that a rank holds whole: as they are gathered, used and sent back.

        A layer's working weights stand twice while the next one's arrive, its gradients in both
        precisions while they are sent; embeddings and other weights in no layer stay throughout.
        """
        sizes, held = self.sizes, self.held
        layer = max(sizes.text.parameters, sizes.tower.parameters)
        outside = sizes.outside * held.size
        if held.keeps_weights:
            return sizes.parameters * held.size + layer * (4 + held.size)
        return 2 * layer * held.size + layer * (4 + held.size) + outside

    # Pieces

    def tiles(self) -> int:
        """Return what the log-prob op works in: a tile of logits and the gradient of its states.

        In half precision a CPU widens the states and a chunk of the embedding, and makes that
        chunk's gradient as wide; on CUDA the tile's gradient is half a tile of its own.
        """
        work, sizes, held = self.work, self.sizes, self.held
        scored = work.rows_at_once * work.completion_tokens
        tile = min(held.tile_bytes, scored * sizes.vocabulary * 4)
        states = scored * sizes.text.hidden * 4
        if not held.is_half:
            return tile + states
        if held.on_cuda:
            return tile * 3 // 2 + 2 * states
        columns = min(sizes.vocabulary, held.tile_bytes // (4 * scored))
        # A chunk and its gradient; a frozen head has none, but the next chunk beside the last one.
        widened = 4 if held.adapters is not None and columns == sizes.vocabulary else 8
        return tile + 2 * states + columns * sizes.text.hidden * widened

    def head_gradient(self) -> int:
        """Return the output embedding's gradient as the log-prob op makes it."""
        return 0 if self.held.adapters is not None else self.sizes.embedding * self.held.size

    def embedding(self) -> int:
        """Return what the gradients of both embeddings take beside their sum.

        Autograd makes each of them whole; tied, both wait for each other. In half precision their
        sum is then copied to float32, and added where there is a gradient.
        """
        if self.held.adapters is not None:
            return 0
        both, first = (2 if self.sizes.tied else 1) * self.held.size, self.work.is_whole
        if not self.held.is_half:
            return self.sizes.embedding * (both - (4 if first else 0))
        return self.sizes.embedding * (both if first else max(both, 2 + 4))
