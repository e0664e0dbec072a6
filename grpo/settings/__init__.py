"""The settings of a run: what they are, where they come from, what "auto" means on this machine."""
