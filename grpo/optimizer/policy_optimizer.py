"""AdamW on float32 weights, whatever the policy computes in.

With a learning rate of 1e-6 an update of a bfloat16 weight rounds away. So a weight that is not
float32 has a float32 master, the gradients of all micro-batches are summed in float32, AdamW moves
the master, and the weight is its rounded copy. A float32 weight is its own master.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from grpo.optimizer.learning_rate import learning_rate_at
from grpo.settings.config import GRPOConfig
from models.checkpoint.saved_tensors import SavedTensor, fill
from models.policy import Policy

BETAS, EPS = (0.9, 0.999), 1e-8
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of each weight that has been moved


class PolicyOptimizer:
    """The optimizer of one policy, with clipping and the learning rate of the current step."""

    def __init__(self, policy: nn.Module, config: GRPOConfig, total_steps: int) -> None:
        """Take every parameter that requires a gradient; the others never move."""
        self._config, self._total_steps = config, total_steps
        # a module that is no policy has nobody to be told
        self._policy = policy if isinstance(policy, Policy) else None
        self.has_moved = False  # since `start_step`: until then all is as the last step left it
        self.has_skipped = False  # likewise, an update whose gradient was not finite
        self.weights = {n: p for n, p in policy.named_parameters() if p.requires_grad}
        self.masters = {n: _master(p) for n, p in self.weights.items()}
        # Decay draws weights to 0, where a matrix may go and a norm's scale may not.
        matrices = [m for m in self.masters.values() if m.dim() >= 2]
        vectors = [m for m in self.masters.values() if m.dim() < 2]  # biases and norms
        self.adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=BETAS,
            eps=EPS,
            fused=True,  # one kernel over all weights of a kind
        )
        # As each gradient is ready, so that those of lower precision never exist all at once.
        for name, weight in self.weights.items():
            if self.masters[name] is not weight:
                weight.register_post_accumulate_grad_hook(_move_gradient_to(self.masters[name]))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
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
        self.adamw.zero_grad(set_to_none=True)
        for weight in self.weights.values():
            weight.grad = None  # one that memory did not suffice to move to its master

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
        # In place: the hooks, and the CUDA graphs that decode, hold these very tensors.
        with torch.no_grad():
            for name, weight in self.weights.items():
                if self.masters[name] is not weight:
                    weight.copy_(self.masters[name])
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
                    weight.copy_(master)
                there = [key for key in _MOMENTS if f"{key}/{name}" in tensors]
                state = self.adamw.state[master] = {key: _moment(master, key) for key in there}
                for key, moment in state.items():
                    fill(moment, tensors[f"{key}/{name}"])
        self._tell_policy()

    def _check_shapes(self, tensors: Mapping[str, SavedTensor | Tensor]) -> None:
        for name, weight in self.weights.items():
            there = [key for key in _MOMENTS if f"{key}/{name}" in tensors]
            if there and len(there) < len(_MOMENTS):
                raise ValueError(f"of {name}'s moments only {', '.join(there)} is there")
            if self._is_rounded(weight) and f"master/{name}" not in tensors:
                raise ValueError(f"the float32 master of {name} is missing")
            for key in ("master", *there):
                wanted = torch.Size([]) if key == "step" else weight.shape
                found = tensors.get(f"{key}/{name}")
                if found is not None and (found.shape, found.dtype) != (wanted, torch.float32):
                    raise ValueError(
                        f"{key}/{name} is {tuple(found.shape)} in {found.dtype}, not"
                        f" {tuple(wanted)} in torch.float32"
                    )

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


def _master(weight: nn.Parameter) -> Tensor:
    """Return the float32 weight that AdamW moves: the weight itself where it is float32."""
    if weight.dtype == torch.float32:
        return weight
    return weight.detach().float().requires_grad_()


def _moment(master: Tensor, key: str) -> Tensor:
    """Return a moment of a weight as AdamW keeps it, not yet filled."""
    if key == "step":
        return torch.zeros((), device=master.device)
    return torch.empty_like(master, requires_grad=False)


def _move_gradient_to(master: Tensor) -> Callable[[Tensor], None]:
    """Return a hook that adds a weight's gradient to its master's, in float32, and drops it."""

    def move(weight: Tensor) -> None:
        assert weight.grad is not None, "the hook runs once a gradient is there"
        gradient = weight.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        weight.grad = None  # only one low-precision gradient exists at a time

    return move
