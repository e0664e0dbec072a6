"""What moves the weights: AdamW with float32 masters, and what changes by plan at each step."""

from grpo.optimizer.policy_optimizer import PolicyOptimizer
from grpo.optimizer.schedules import beta_at, learning_rate_at

__all__ = ["PolicyOptimizer", "beta_at", "learning_rate_at"]
