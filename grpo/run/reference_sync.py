"""A reference that is made the policy again after every K steps: --reference-sync.

The KL then holds the policy near what it was at most K steps ago, and no longer near the start
model. Source: TR-DPO, arXiv:2404.09656, its hard update; TRL's `sync_ref_model` with a mixup of 1.

A step that is due begins with it, from the weights that its rollout decodes from, so that several
processes gather these once. Before its first sync the reference is the start model, and where a
step that is due comes next it will be the policy in any case. Every other checkpoint holds its
weights, in its own dtype: those that are trained, since no other ever moves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from grpo.run.checkpoint_names import REFERENCE, step_of
from grpo.run.exploded import not_finite
from grpo.run.state_parts import by_name, own_pieces
from grpo.run.trainer_state import resuming
from grpo.settings.config import GRPOConfig
from models.checkpoint.saved_tensors import SavedTensor, fill, saved_tensors
from models.policy import Policy

_PREFIX = "reference/"  # of a tensor's name in a checkpoint: what an error says is not finite


class ReferenceSync:
    """Writes the policy's weights into the reference when that is due; loads and saves them.

    The reference may lie anywhere: on the policy's device, layer by layer in CPU memory, cut into
    shards. Its tensors stay where they are.
    """

    def __init__(self, policy: Policy, reference: Policy, config: GRPOConfig) -> None:
        """Take the two; the reference follows in all weights that the policy trains."""
        self._policy, self._reference, self._config = policy, reference, config
        self._names = [name for name, w in policy.named_parameters() if w.requires_grad]

    @classmethod
    def of(
        cls,
        config: GRPOConfig,
        policy: Policy,
        reference: Policy | None,
        checkpoint: Path | None,
    ) -> Self | None:
        """Return that of a run; None where its reference stays the start model.

        Args:
            config: the run's.
            policy: as it is now.
            reference: as it was loaded, the start model.
            checkpoint: that the run goes on from, whose reference it then gets.

        Raises:
            ValueError: the checkpoint's reference is missing or damaged, or is another model's.
        """
        if config.reference_sync == 0 or reference is None:
            return None
        sync = cls(policy, reference, config)
        if checkpoint is not None and config.has_own_reference(step_of(checkpoint)):
            sync._load(checkpoint)
        return sync

    def start_step(self, step: int) -> None:
        """Make the reference the policy if a step, counted from 0, begins with that.

        All processes call it together.
        """
        if step > 0 and self.age(step) == 0:
            whole = dict(self._policy.sampler().named_parameters())
            self._write(whole)

    def age(self, step: int) -> int:
        """Return how many steps ago the reference was the policy, or the start model."""
        return step % self._config.reference_sync

    def tensors(self, done: int) -> dict[str, Tensor]:
        """Return what a checkpoint after so many steps has to hold of the reference."""
        if not self._config.has_own_reference(done):
            return {}
        return {f"{_PREFIX}{name}": weight.detach() for name, weight in self._weights().items()}

    def _weights(self) -> dict[str, nn.Parameter]:
        self._reference.free_gathered()  # of a sharded one, its shards are what is written and read
        return {name: self._reference.get_parameter(name) for name in self._names}

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor | SavedTensor]) -> None:
        for name, weight in self._weights().items():
            fill(weight, values[name])
        self._reference.weights_moved()

    def _load(self, checkpoint: Path) -> None:
        with resuming(checkpoint, "loading the reference"):
            try:
                with saved_tensors(checkpoint / REFERENCE) as saved:
                    found = {name.removeprefix(_PREFIX): saved[name] for name in saved}
                    self._check(found)
                    self._write(found)
            except ValueError as error:
                raise ValueError(f"{REFERENCE}: {error}") from error
            if broken := not_finite(by_name(own_pieces(self._weights()))):
                raise ValueError(f"{REFERENCE} holds NaN or inf in {', '.join(broken[:3])}")

    def _check(self, found: Mapping[str, SavedTensor]) -> None:
        shapes = {name: weight.shape for name, weight in self._weights().items()}
        there = {name: saved.shape for name, saved in found.items()}
        if strange := sorted(dict(shapes.items() ^ there.items())):
            raise ValueError(f"it is of another model (for example {', '.join(strange[:3])})")
