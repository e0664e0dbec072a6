"""Asking a policy: settings, controls, passes, letters, thoughts, and going on after a stop."""
