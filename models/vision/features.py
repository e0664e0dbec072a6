"""Image features of a frozen vision tower, kept: an image is the same in every pass and epoch.

A tower whose weights move has no use for this, and a key that forgot the weights would return
stale features (verl#6522 is such a case). So a key is the image's content and the weights' version,
which PyTorch raises at every write into a weight.

Shapes: T visual tokens of a prompt, D hidden size.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.architecture import VisionTower
from models.prompts.prompt import EncodedPrompt

LIMIT_BYTES = 2**30


class FeatureCache:
    """The features of the images seen last, up to a number of bytes, on the tower's device."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit, self._held = limit_bytes, 0
        self._features: OrderedDict[tuple[int, bytes], Tensor] = OrderedDict()

    def features(
        self,
        visual: VisionTower,
        prompts: Sequence[EncodedPrompt],
        compute: Callable[[Sequence[EncodedPrompt]], list[Tensor]],
    ) -> list[Tensor]:
        """Return (T, D) per prompt without gradient, computing only those that are not held.

        Args:
            visual: the tower, for its weights' version.
            prompts: whose features are wanted.
            compute: prompts -> features.
        """
        # Versions only rise, so their sum changes with any write into any weight.
        version = sum(parameter._version for parameter in visual.parameters())
        keys = [(version, prompt.pixel_digest) for prompt in prompts]
        missing = {
            key: prompt
            for key, prompt in zip(keys, prompts, strict=True)
            if key not in self._features
        }
        found = {key: self._features[key] for key in keys if key not in missing}
        for key, prompt in missing.items():
            # Each in a pass of its own: a product rounds by its number of rows, and a resumed run
            # meets other images anew than the run that never stopped.
            with torch.no_grad():
                found[key] = compute([prompt])[0].clone()  # not a piece of something larger
        # After all were found: keeping one may drop another of this very batch.
        for key in keys:
            self._keep(key, found[key])
        return [found[key] for key in keys]

    def _keep(self, key: tuple[int, bytes], features: Tensor) -> None:
        """Hold these features as the last used, and drop the least lately used over the limit."""
        if key not in self._features:
            self._held += features.nbytes
        self._features[key] = features
        self._features.move_to_end(key)
        while self._held > self._limit and self._features:
            _, oldest = self._features.popitem(last=False)
            self._held -= oldest.nbytes
