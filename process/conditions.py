"""FIELD=VALUE, as a command line says it of rows; PART:FIELD=VALUE of one part's rows alone."""

from collections.abc import Collection, Iterable

PARTS = ("train", "eval")
ONLY_HELP = "read only rows with these values, such as q_lang=en split=test (docs/rows.md)"


def check_conditions(texts: Iterable[str], parts: Collection[str]) -> None:
    """Raise a ValueError for a text that is no condition, or is about rows that are not read.

    Args:
        texts: what was given.
        parts: whose rows are read.

    >>> check_conditions(["q_lang=en", "eval:split=test"], ["eval"])
    """
    for text in texts:
        part, name, value = split_condition(text)
        if part and part not in parts:
            raise ValueError(
                f"--only {text!r} is about the rows of {part}, of which none are read here: leave"
                f" it away, or write {name}={value}"
            )


def split_condition(text: str) -> tuple[str, str, str]:
    """Return part, field and value of a condition; an empty part stands for all parts.

    Raises:
        ValueError: there is no field, or no ``=``.

    >>> split_condition("q_lang=en"), split_condition("eval: split=a=b")
    (('', 'q_lang', 'en'), ('eval', 'split', 'a=b'))
    """
    part, colon, rest = text.partition(":")
    if not colon or part not in PARTS:
        part, rest = "", text
    name, sign, value = rest.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"--only {text!r} is not FIELD=VALUE: write it as in --only q_lang=en")
    return part, name.strip(), value
