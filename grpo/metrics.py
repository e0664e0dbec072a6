"""The numbers of metrics.jsonl that describe a rollout and its update.

Shapes: N prompts, G completions each, B = N * G rows, M rows of a micro-batch, C completion tokens,
R reward functions.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grpo.rollout import Part, Rollout
from process.ranks import world


def rollout_metrics(
    rollout: Rollout,
    names: Sequence[str],
    rewards_per_fn: Tensor,
    rewards: Tensor,
    advantages: Tensor,
) -> dict[str, float]:
    """Return what was sampled and scored, as means or shares over the step's rows or groups.

    Args:
        rollout: B rows.
        names: of the R reward functions.
        rewards_per_fn: (N, G, R).
        rewards: (N, G), weighted totals, a grounding term left out.
        advantages: (N, G).
    """
    completions = rollout.completions
    # Per group, since equal texts of two groups answer different questions.
    unique = [len(set(texts)) / len(texts) for texts in rollout.texts]
    # Before a grounding term, so that runs with and without one can be compared.
    metrics = {"reward": rewards.mean().item()}
    for name, scores in zip(names, rewards_per_fn.unbind(dim=2), strict=True):
        metrics[f"reward/{name}"] = scores.mean().item()
    return metrics | {
        "advantage/std": advantages.std().item(),
        "zero_std_groups": (~advantages.any(dim=1)).float().mean().item(),
        "entropy": (completions.entropies.sum() / completions.mask.sum()).item(),
        "completion_tokens": completions.mask.sum(dim=1).float().mean().item(),
        "truncated": completions.truncated.float().mean().item(),
        "unique_completions": sum(unique) / len(unique),
    }


class UpdateSums:
    """Sums over the micro-batches of an update, kept on the device until all are done.

    The metrics of the loss are those of the last pass. The gap, |logp(decode) - logp(update)| of
    the sampled tokens, is that of the first, before any weight moved: there the two should agree.
    """

    def __init__(self, rollout: Rollout, device: torch.device) -> None:
        """Start with nothing; `start_pass` and `end_pass` stand around the work of each pass."""
        self._sampled = rollout.completions.logprobs.to(device)  # (B, C)
        self._passes = 0
        self.start_pass()

    def start_pass(self) -> None:
        """Forget what was summed of this pass, or of the last; the gap stays the first one's."""
        self._sums: dict[str, Tensor] = {}
        if self._passes == 0:
            self._gap_sum = self._gap_max = torch.zeros((), device=self._sampled.device)
            self._slots = self._tokens = 0

    def end_pass(self) -> None:
        """Note that weights have moved: the sums are those of a whole pass."""
        self._passes += 1

    def add(self, part: Part, logprobs: Tensor, loss_metrics: Mapping[str, Tensor]) -> None:
        """Add a micro-batch: its log-probabilities (M, C) and its weighted sums."""
        if not part.rows:
            return
        # Tensors are added, not numbers: float() would wait for the device at every micro-batch.
        for name, value in loss_metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self._passes > 0:  # weights have moved since the completions were sampled
            return
        # Sampler and update compute the same numbers by different kernels. A gap beyond rounding
        # means two models, which the ratio of the first pass, 1 by construction, would hide.
        mask = part.completion_mask.to(logprobs.device)  # (M, C)
        gap = (logprobs.detach() - part.cut(self._sampled)).abs() * mask  # (M, C)
        self._slots += gap.numel()
        self._tokens += int(part.completion_mask.sum())
        self._gap_sum = self._gap_sum + gap.sum()
        self._gap_max = torch.maximum(self._gap_max, gap.max())

    def means(self, *, with_kl: bool) -> dict[str, float | None]:
        """Return the metrics of the last pass; kl is None where there is no reference.

        The gap and the padding are those of the rows that were run; None where none was. Where
        several processes have run rows, they are those of all.
        """
        # What an update leaves whose groups all agree, so that none was run: a loss of 0, no gap.
        sums = {"loss": 0.0, "kl": 0.0, "clip_fraction": 0.0}
        sums_of_every_step = {*sums, "gap", "tokens", "slots"}
        sums |= {name: float(value) for name, value in self._sums.items()}
        sums |= {"gap": float(self._gap_sum), "tokens": self._tokens, "slots": self._slots}
        gaps, all_sums = zip(*world().gather([float(self._gap_max), sums]), strict=True)
        names = {name: None for each in all_sums for name in each}  # one may have run no row
        total = {name: sum(each.get(name, 0.0) for each in all_sums) for name in names}
        ran = total["tokens"] > 0
        return {
            "loss": total["loss"],
            "kl": total["kl"] if with_kl else None,
            "clip_fraction": total["clip_fraction"],
            "logprob_gap/mean": total["gap"] / total["tokens"] if ran else None,
            "logprob_gap/max": float(torch.tensor(gaps).max()) if ran else None,  # NaN stays NaN
            "padding": 1 - total["tokens"] / total["slots"] if ran else None,
            **{name: value for name, value in total.items() if name not in sums_of_every_step},
        }
