"""The settings of a run, one file for each heading of --help."""
