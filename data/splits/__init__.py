"""Better splits of the published files: no image, or no patient, in both train and test.

``python -m data.splits FILES... --output-dir DIR``; docs/splits.md says what it does.
"""
