"""What a run would do and need, told before it is started: train.py --dry-run."""
