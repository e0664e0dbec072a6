"""What an answer keeps of its row's other fields, so that accuracies can be told apart by them.

Kept are short plain values, few of them: every line of predictions.jsonl holds them again.
Everything else stays in the data.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

MOST_FIELDS = 40
LONGEST = 200  # characters of a name or a value
_LARGEST = 2**63


def kept_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields whose values are short texts, numbers or truths, the first of many.

    >>> kept_fields({"answer_type": "OPEN", "qid": 7, "triple": ["lung", "is", "left"], "x": None})
    {'answer_type': 'OPEN', 'qid': 7}
    """
    short = (item for item in fields.items() if len(item[0]) <= LONGEST and is_kept(item[1]))
    return dict(item for item, _ in zip(short, range(MOST_FIELDS), strict=False))


def is_kept(value: Any) -> bool:
    """Return whether a field of this value is kept."""
    if isinstance(value, str):
        return len(value) <= LONGEST
    return isinstance(value, int | float) and isfinite(value) and abs(value) < _LARGEST
