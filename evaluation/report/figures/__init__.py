"""Figures from plain numbers, drawn with matplotlib (the extra ``report``) when one is asked for.

Each function takes numbers and returns a matplotlib Figure; ``base.to_png`` turns it into a file.
"""
