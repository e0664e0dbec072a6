"""What decoding needs: caches, weights laid out for it, one token of every row.

H query heads and Hkv key/value heads of size d; D hidden size.
"""

from models.decode.buffers import count_bucket, slot_bucket
from models.memory.held import Held
from models.memory.parts import Sizes
from models.memory.sizes import ModelSizes
from models.memory.work import Work


class Decoding:
    """The sums of a rollout's decoding, for one process."""

    def __init__(self, sizes: ModelSizes, held: Held, work: Work) -> None:
        """Keep what they are made of: the model's sizes, where its parts are, how much is done."""
        self.sizes, self.held, self.work = sizes, held, work

    def graphs(self) -> Sizes:
        """Return what CUDA graphs keep beside training: see models/decode/graphed.py."""
        work, text = self.work, self.sizes.text
        rows, slots = count_bucket(work.rows), slot_bucket(work.completion_tokens)
        prompts, prompt_slots = count_bucket(work.prompts), slot_bucket(work.prompt_tokens)
        token = 2 * text.depth * text.keys * self.held.size
        scores = 3 * rows * text.heads * (prompt_slots + slots) * 4
        rotation = rows * text.head_size**2 * self.held.size
        return {
            "prompt cache": token * prompts * prompt_slots,
            "decode cache": token * rows * slots,
            "decode weights": text.depth * self.projections * self.held.size,
            "graphs": self._step_of_layer() + scores + rotation,
        }

    @property
    def projections(self) -> int:
        """(H + 2 Hkv) d D, the weights of query, key and value of one layer, side by side."""
        text = self.sizes.text
        return (text.hidden + 2 * text.keys) * text.hidden

    def without_graphs(self) -> Sizes:
        """Return what decoding without graphs holds while it lasts."""
        work, text, size = self.work, self.sizes.text, self.held.size
        folded = 0 if self.held.is_half else 2 * text.width * text.hidden
        token = 2 * text.depth * text.keys * size
        return {
            "prompt cache": token * work.prompts * work.prompt_tokens,
            "decode cache": token * work.rows * work.completion_tokens,
            "decode weights": text.depth * (self.projections + folded) * size,
        }

    def decode_step(self) -> int:
        """Return what one token of every row needs: the logits of choosing it, or a layer.

        Chosen by four tables as large as the logits; in a layer, two of the last token are there.
        On a CPU in half precision the output embedding is widened for the product.
        """
        work, held, text = self.work, self.held, self.sizes.text
        logits = work.rows * self.sizes.vocabulary * 4
        if held.on_cuda:  # the layers' own are the graphs'
            return 5 * logits
        tables = work.rows * work.completion_tokens * 2 * text.head_size * 4
        most = max(4 * logits, 2 * logits + self._step_of_layer())
        if held.is_half:
            most = max(most, 3 * logits + self.sizes.embedding * 4)
        return most + tables

    def _step_of_layer(self) -> int:
        text = self.sizes.text
        return self.work.rows * (3 * text.width + 9 * text.hidden) * self.held.size
