"""What every command of ours has in common as a process: its output, its end, its being alone.

Standard library and tqdm only, and nothing of the other packages: all of them may import it.
"""
