"""Whole completions with gradient: every prompt once, then all of its completions."""
