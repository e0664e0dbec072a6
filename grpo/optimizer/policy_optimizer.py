"""AdamW on float32 weights, whatever the policy computes in: see grpo/optimizer/masters.py."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from grpo.moments.adamw_8bit import AdamW8bit, Layout, float_layout, layout
from grpo.optimizer.masters import Masters
from grpo.optimizer.schedules import learning_rate_at
from grpo.settings.config import GRPOConfig
from models.checkpoint.saved_tensors import SavedTensor, fill
from models.policy import Policy
from process.ranks import world

BETAS, EPS = (0.9, 0.999), 1e-8
_FLOAT_MOMENTS = ("exp_avg", "exp_avg_sq")


class PolicyOptimizer:
    """The optimizer of one policy, with clipping and the learning rate of the current step."""

    def __init__(self, policy: nn.Module, config: GRPOConfig, total_steps: int) -> None:
        """Take every parameter that requires a gradient; the others never move."""
        self._config, self._total_steps = config, total_steps
        # a module that is no policy has nobody to be told
        self._policy = policy if isinstance(policy, Policy) else None
        if self._policy is not None:
            self._policy.free_gathered()  # of a sharded policy, its shards are what moves
        self.has_moved = False  # since `start_step`: until then all is as the last step left it
        self.has_skipped = False  # likewise, an update whose gradient was not finite
        self.weights = {n: p for n, p in policy.named_parameters() if p.requires_grad}
        # Of several processes each has shards, which lie where FSDP has put them; what every one
        # has whole, such as adapters, is added up over all where it is.
        alone = world().size == 1
        self._masters = Masters(self.weights, on_cpu=config.offload_optimizer and alone)
        self.masters = self._masters.by_name
        # Decay draws weights to 0, where a matrix may go and a norm's scale may not.
        matrices = [m for m in self.masters.values() if m.dim() >= 2]
        vectors = [m for m in self.masters.values() if m.dim() < 2]  # biases and norms
        self.adamw = _adamw(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            config,
        )

    @property
    def device(self) -> torch.device:
        """Where the policy is run; its weights may lie in CPU memory."""
        if self._policy is not None:
            return self._policy.device
        return next(iter(self.weights.values())).device

    @property
    def learning_rate(self) -> float:
        """The learning rate of the current step."""
        return self.adamw.param_groups[0]["lr"]

    def start_step(self, step: int) -> None:
        """Set the learning rate of step ``step``, counted from 0."""
        self.end_step()
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate_at(step, self._total_steps, self._config)

    def end_step(self) -> None:
        """Note that the step is recorded: the next may be dropped until it moves a weight."""
        self.has_moved = self.has_skipped = False

    def zero_grad(self) -> None:
        """Forget the gradients of the last pass, also of one that was broken off."""
        self._masters.drop_gradients()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch's loss to that of the others, of all processes."""
        scale = 1 if self._policy is None else self._policy.gradient_scale
        (loss if scale == 1 else loss * scale).backward()

    def step(self, max_grad_norm: float) -> float:
        """Clip the gradient, move the weights, return the gradient's norm before clipping.

        Where the norm is NaN or inf, weights and moments stay as they are, and `has_skipped` says
        so: see grpo/watch/bad_steps.py.
        """
        if self._policy is not None:
            self._policy.settle_gradients()
        if all(master.grad is None for master in self.masters.values()):
            # no group was run: the gradient is 0, and AdamW's momentum goes on all the same
            for master in self.masters.values():
                master.grad = torch.zeros_like(master)
        norm = self._clip(max_grad_norm)
        if not torch.isfinite(norm):
            self.has_skipped = True
            self.zero_grad()
            return norm.item()
        self.has_moved = True
        self.adamw.step()
        self._masters.write_back()
        self._tell_policy()
        return norm.item()

    def _clip(self, max_norm: float) -> Tensor:
        """Scale the gradient down to a norm; return the one that it had, equal in all processes."""
        masters = list(self.masters.values())
        norm = nn.utils.get_total_norm([m.grad for m in masters if m.grad is not None])
        if hasattr(norm, "full_tensor"):  # each process has the norm of its rows
            norm = norm.full_tensor()
        nn.utils.clip_grads_with_norm_(masters, max_norm, norm)
        return norm

    def _tell_policy(self) -> None:
        """Let the policy know that its weights were written."""
        if self._policy is not None:
            self._policy.weights_moved()

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the moments of every weight, and its master if it is not saved in float32."""
        tensors = {}
        for name, weight, master in self._named():
            if self._is_rounded(weight):
                tensors[f"master/{name}"] = master.detach()
            for key, value in self.adamw.state[master].items():
                tensors[f"{key}/{name}"] = value
        return tensors

    def state_bytes(self) -> int:
        """Return how large `state_tensors` are, of all processes, once every weight was moved."""
        numbers = {n: 2 + self._is_rounded(weight) for n, weight in self.weights.items()}
        return sum(4 * (numbers[n] * self.weights[n].numel() + 1) for n in numbers)

    def load_state_tensors(self, tensors: Mapping[str, SavedTensor | Tensor]) -> None:
        """Go on from what `state_tensors` returned, in memory or on the disk.

        Raises:
            ValueError: the tensors belong to other weights, or some of a weight's are missing.
        """
        names = {key.split("/", 1)[-1] for key in tensors}
        if names != set(self.weights):
            strange = sorted(names ^ set(self.weights))[:3]
            raise ValueError(
                f"the optimizer's state does not fit the model (for example {', '.join(strange)}):"
                " resume with the run's own model and --freeze-vision setting"
            )
        self._check_shapes(tensors)
        with torch.no_grad():
            for name, weight, master in self._named():
                if f"master/{name}" in tensors:
                    fill(master, tensors[f"master/{name}"])
                elif master is not weight:
                    master.copy_(weight)
                if f"step/{name}" not in tensors:  # it has not moved yet
                    continue
                state = self.adamw.state[master] = self._fresh_state(master)
                for key, value in state.items():
                    fill(value, tensors[f"{key}/{name}"])
        self._masters.write_back()
        self._tell_policy()

    def _check_shapes(self, tensors: Mapping[str, SavedTensor | Tensor]) -> None:
        for name, weight in self.weights.items():
            wanted = self._layout(weight)
            there = [key for key in wanted if f"{key}/{name}" in tensors]
            if there and len(there) < len(wanted):
                raise ValueError(f"of {name}'s moments only {', '.join(there)} is there")
            if self._is_rounded(weight) and f"master/{name}" not in tensors:
                raise ValueError(f"the float32 master of {name} is missing")
            for key, facts in {"master": (weight.shape, torch.float32), **wanted}.items():
                found = tensors.get(f"{key}/{name}")
                if found is not None and (found.shape, found.dtype) != facts:
                    raise ValueError(
                        f"{key}/{name} is {tuple(found.shape)} in {found.dtype}, not"
                        f" {tuple(facts[0])} in {facts[1]}"
                    )

    def _layout(self, weight: Tensor) -> Layout:
        """Return what the state of a weight is made of."""
        return layout(weight) if isinstance(self.adamw, AdamW8bit) else float_layout(weight)

    def _fresh_state(self, master: Tensor) -> dict[str, Tensor]:
        """Return the state of a weight as AdamW keeps it, to be filled."""
        if isinstance(self.adamw, AdamW8bit):
            return self.adamw.fresh_state(master)
        moments = {key: torch.empty_like(master, requires_grad=False) for key in _FLOAT_MOMENTS}
        return {"step": torch.zeros((), device=master.device), **moments}

    def _is_rounded(self, weight: Tensor) -> bool:
        """Return whether a weight's file will not hold all digits of its master.

        One that is sharded is float32, and is saved in the dtype that its policy computes in.
        """
        if hasattr(weight, "device_mesh") and self._policy is not None:
            return self._policy.dtype != torch.float32
        return weight.dtype != torch.float32

    def _named(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield name, weight and float32 master of every parameter that is trained."""
        for name, weight in self.weights.items():
            yield name, weight, self.masters[name]


def _adamw(groups: Iterable[dict[str, Any]], config: GRPOConfig) -> torch.optim.Optimizer:
    """Return the AdamW of a run, with 8-bit moments if its settings say so."""
    rate = config.learning_rate
    if config.optimizer == "adamw_8bit":
        return AdamW8bit(groups, lr=rate, betas=BETAS, eps=EPS)
    # fused: one kernel over all weights of a kind
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=EPS, fused=True)
