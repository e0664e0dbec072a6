"""report.html: a run, an evaluation, a matrix or a protocol on one page that fetches nothing.

    python -m evaluation.report DIR

train.py and evaluate.py write it at their end. Its figures need matplotlib (the extra ``report``)
and lie in ``figures/`` as well; without matplotlib the page has everything else and says so.
"""
