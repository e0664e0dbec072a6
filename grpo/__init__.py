"""The algorithm: one GRPO step (step.py, read it first) and what it needs around it."""
