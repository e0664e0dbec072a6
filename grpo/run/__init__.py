"""What a run leaves behind: its directory, checkpoints, what it came from, profiles, rollouts."""
