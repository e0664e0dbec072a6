"""From published files to examples: families of rows, inline options, labels, paths."""
