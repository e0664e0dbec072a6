"""Any data file that can be read, written in one form of ours: docs/convert.md."""
