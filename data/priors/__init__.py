"""Text priors: guessers that never see the image, fitted on the rows of train files only.

What they get right in a test file says nothing about seeing, so their accuracy belongs beside every
model's. `fit_all` fits all of them, `prior_table` scores them. The first three answer choices, the
last two open questions, and the question majority both:

>>> from data.priors import PRIORS
>>> list(PRIORS)
['lookup', 'question majority', 'linear ranker', 'answer majority', 'nearest question']
"""

from data.priors.base import TextPrior
from data.priors.fitted import PRIORS, accuracy, fit_all, prior_table
from data.priors.lookup import OptionLookup, QuestionMajority
from data.priors.open_answers import AnswerMajority, NearestQuestion
from data.priors.ranker import LinearRanker

__all__ = [
    "PRIORS",
    "AnswerMajority",
    "LinearRanker",
    "NearestQuestion",
    "OptionLookup",
    "QuestionMajority",
    "TextPrior",
    "accuracy",
    "fit_all",
    "prior_table",
]
