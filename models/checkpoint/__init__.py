"""Policies on disk and in memory: loading, saving, offloading, what fits."""
