"""What moves the weights: AdamW with float32 masters, and its learning rate at each step."""

from grpo.optimizer.learning_rate import learning_rate_at
from grpo.optimizer.policy_optimizer import PolicyOptimizer

__all__ = ["PolicyOptimizer", "learning_rate_at"]
