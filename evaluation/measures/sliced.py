"""Numbers of the parts of an evaluation: by slice, by kind of answer, by a field of the rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from data.examples import MODALITIES, QUESTION_TYPES, UNKNOWN
from data.options import is_lettered
from evaluation.answers.prediction import Prediction
from process.shown import shown_line
from rewards.forms import FORMS

Numbers = TypeVar("Numbers", bound=Mapping[str, Any])

FIELDS = ("answer_type",)  # by which rows that have it are told apart, whoever asks
MOST_VALUES = 100  # of a field: more make no slices
_KINDS = tuple(dict.fromkeys(form.kind for form in FORMS.values()))


def by_slices(
    predictions: Sequence[Prediction], numbers: Callable[[Sequence[Prediction]], Numbers]
) -> dict[str, dict[str, Numbers]]:
    """Return ``numbers`` of each slice's predictions, by axis: by_modality, by_question_type, ..

    Slices stand in the order of their axis, then by name, unknown last; those that do not occur are
    left out.
    """
    return {
        "by_modality": _by(predictions, numbers, lambda item: item.modality, MODALITIES),
        "by_question_type": _by(
            predictions, numbers, lambda item: item.question_type, QUESTION_TYPES
        ),
        "by_dataset": _by(predictions, numbers, lambda item: item.dataset, ()),
    }


def by_kinds(
    predictions: Sequence[Prediction], numbers: Callable[[Sequence[Prediction]], Numbers]
) -> dict[str, Any]:
    """Return ``numbers`` by_form, by_kind, and of ``closed`` (choices) and ``open`` questions.

    Nothing where all questions are choices by letter; of closed and open what there is.
    """
    if all(map(is_lettered, predictions)):
        return {}
    closed = [item for item in predictions if item.kind == "choice"]
    parts = {"closed": closed, "open": [item for item in predictions if item.kind != "choice"]}
    return {
        "by_form": _by(predictions, numbers, lambda item: item.form, tuple(FORMS)),
        "by_kind": _by(predictions, numbers, lambda item: item.kind, _KINDS),
        **{name: numbers(rows) for name, rows in parts.items() if rows},
    }


def by_fields(
    predictions: Sequence[Prediction],
    numbers: Callable[[Sequence[Prediction]], Numbers],
    names: Sequence[str] = FIELDS,
) -> dict[str, Any]:
    """Return ``by_field``: field -> value -> ``numbers`` of the rows that have it.

    Values are told apart as texts; rows without the field are ``unknown``. A field that no row has,
    or that has more than MOST_VALUES values, is left out; without any there is no ``by_field``.
    """
    found = {}
    for name in names:
        values = {str(item.fields[name]) for item in predictions if name in item.fields}
        if 0 < len(values) <= MOST_VALUES:
            found[name] = _by(predictions, numbers, _value_of(name), ())
    return {"by_field": found} if found else {}


def check_by(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError for a field that no row has, or that has too many values to make slices.

    Args:
        names: what somebody asked for.
        rows: each one's fields, as predictions hold them.
    """
    for name in names:
        values = {str(row[name]) for row in rows if name in row}
        if not values:
            known = sorted({field for row in rows for field in row})
            there = ", ".join(map(shown_line, known[:20])) or "none"
            raise ValueError(
                f"--by {name}: no row has a field of this name with a short value, they have"
                f" {there}"
            )
        if len(values) > MOST_VALUES:
            raise ValueError(
                f"--by {name}: its {len(values):,} values are too many to tell rows apart by; at"
                f" most {MOST_VALUES} are"
            )


def _value_of(name: str) -> Callable[[Prediction], str]:
    return lambda item: str(item.fields.get(name, UNKNOWN))


def _by(
    predictions: Sequence[Prediction],
    numbers: Callable[[Sequence[Prediction]], Numbers],
    key: Callable[[Prediction], str],
    order: Sequence[str],
) -> dict[str, Numbers]:
    slices: dict[str, list[Prediction]] = {}
    for item in predictions:
        slices.setdefault(key(item), []).append(item)
    known = [name for name in order if name in slices]
    others = sorted(set(slices) - set(known), key=lambda name: (name == UNKNOWN, name))
    return {name: numbers(slices[name]) for name in (*known, *others)}
