"""FIELD=VALUE, and which part of the data it is about."""

import pytest

from process.conditions import check_conditions, split_condition


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("q_lang=en", ("", "q_lang", "en")),
        ("train:split=train", ("train", "split", "train")),
        ("eval: split = test ", ("eval", "split", " test ")),
        ("a:b=c", ("", "a:b", "c")),  # a field's own name
        ("field=a=b", ("", "field", "a=b")),
        ("field=", ("", "field", "")),
    ],
)
def test_a_condition_has_a_part_a_field_and_a_value(text, parts):
    assert split_condition(text) == parts


@pytest.mark.parametrize(
    ("texts", "parts", "reason"),
    [
        (["q_lang"], ("eval",), "'q_lang' is not FIELD=VALUE"),
        (["a=b", "train:c=d"], ("eval",), "about the rows of train, .* or write c=d"),
        (["eval:c=d"], (), "about the rows of eval, of which none are read here"),
    ],
)
def test_what_would_do_nothing_is_refused(texts, parts, reason):
    with pytest.raises(ValueError, match=reason):
        check_conditions(texts, parts)
    check_conditions(["a=b"], parts)
