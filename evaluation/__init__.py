"""Scoring a checkpoint: greedy accuracy with intervals, tables, one question asked."""
