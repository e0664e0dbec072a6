"""What GRPO's descendants change in its objective: pure maths, one table per choice."""
