"""The algorithm: one GRPO step (step.py, read it first) and the loop, sampling, loss and files around it."""
