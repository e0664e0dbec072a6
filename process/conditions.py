"""FIELD=VALUE, as a command line says it of rows; PART:FIELD=VALUE of one part's rows alone."""

PARTS = ("train", "eval")


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
