"""One encoded prompt: token ids, 3-D positions and pixels, everything a policy needs of a question.

Shapes: P prompt tokens, K image patches, I images.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A user's turn as the model reads it, on the CPU and unpadded; a batch is a list of these."""

    input_ids: Tensor  # (P,) int64, one image placeholder per visual token
    position_ids: Tensor  # (3, P) int64: temporal, height, width
    pixel_values: Tensor  # (K, patch_dim) float32, the patches of all images, concatenated
    image_grid_thw: Tensor  # (I, 3) int64, patches of each image along time, height, width

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    @cached_property
    def next_position(self) -> int:
        """The position, equal on all three axes, of the first token after the prompt.

        An image occupies max(height, width) positions, not its number of tokens, so this is not P.
        """
        return int(self.position_ids.max()) + 1

    @cached_property
    def pixel_digest(self) -> bytes:
        """A digest of the images' patches and grids: equal images, equal digest."""
        # The grid too: the same patches in another shape are another image.
        digest = hashlib.sha256(self.image_grid_thw.numpy().tobytes())
        digest.update(self.pixel_values.contiguous().numpy().tobytes())
        return digest.digest()

    def followed_by(self, ids: Sequence[int]) -> "EncodedPrompt":
        """Return the prompt with some tokens of its completion after it, which may be none."""
        # Text counts on by one on all three axes.
        own = self.next_position + torch.arange(len(ids))
        return replace(
            self,
            input_ids=torch.cat([self.input_ids, torch.tensor(ids, dtype=torch.int64)]),
            position_ids=torch.cat([self.position_ids, own.expand(3, -1)], dim=1),
        )

    def blanked(self) -> "EncodedPrompt":
        """Return the same prompt with nothing to see on its images.

        Every pixel value is 0, which is the processor's mean colour after its normalisation; the
        number of visual tokens and their positions stay.
        """
        return replace(self, pixel_values=torch.zeros_like(self.pixel_values))
