"""The audit of split files: what their text gives away, and what train and test have in common.

``python -m data.audit FILES... --image-root DIR``; docs/audit.md says what each number means.
"""
