"""Command lines generated from the fields of a frozen config, so that no flag can be forgotten.

A field holds its default and the words of --help; its type says what the flag takes. Values are
checked by the config itself: here everything that argparse can read is accepted.
"""

import argparse
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar, get_args, get_type_hints

from process.paths import expanded

Config = TypeVar("Config")

REQUIRED = MISSING  # the default of a setting that has to be given
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def setting(
    default: Any,
    text: str,
    metavar: str | None = None,
    *,
    nargs: str | int | None = None,
    positional: bool = False,
    only: str | tuple[str, ...] | None = None,
) -> Any:
    """Return a field with its default and the words that --help prints for it.

    Args:
        default: what a config has where nothing is given; REQUIRED: there is none.
        text: for --help, which adds the default unless the text speaks of one.
        metavar: what the flag is shown to take; default: by its type.
        nargs: how many values it takes, as argparse says it; 0: a switch that has no opposite.
        positional: it is known by its place and not by a flag.
        only: the kind of run that uses it, such as a method, or several; None: every one does.
    """
    shown: dict[str, Any] = {"help": text, "metavar": metavar, "nargs": nargs}
    shown["positional"] = positional
    shown["only"] = (only,) if isinstance(only, str) else only
    return field(default=default, metadata=shown)


@dataclass(frozen=True)
class Group:
    """A part of --help: its title, the settings that stand there, and what is said of them all."""

    title: str
    names: tuple[str, ...]
    description: str | None = None


def add_flags(
    parser: argparse.ArgumentParser,
    config: type,
    groups: Sequence[Group] = (),
    *,
    choices: Mapping[str, Sequence[str]],
    paths: Collection[str],
) -> None:
    """Add one flag per field of a config, in the order of its groups; without any, of its fields.

    Flags that are not given are absent from the namespace: what was given can then be told from
    what is a default.

    Args:
        parser: gets the flags.
        config: a dataclass whose fields are made by `setting`.
        groups: every field in one of them.
        choices: field -> the names it may have, for --help.
        paths: the fields that name files and folders.
    """
    types_by_name = get_type_hints(config)
    left = {item.name: item for item in fields(config)}
    for group in groups:
        place = parser.add_argument_group(group.title, group.description)
        for name in group.names:
            _add_flag(place, left.pop(name), types_by_name[name], choices, paths)
    assert not (groups and left), f"no group holds {', '.join(left)}"
    for name, item in left.items():
        _add_flag(parser, item, types_by_name[name], choices, paths)


def config_from(config: type[Config], given: Mapping[str, Any]) -> Config:
    """Return a config made of the flags that were given, lists of values as tuples.

    Raises:
        ValueError: what the config refuses.
    """
    return config(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
    )


def flag_of(name: str) -> str:
    """Return the flag of a field.

    >>> flag_of("image_root")
    '--image-root'
    """
    return f"--{name.replace('_', '-')}"


def number_or_text(text: str) -> int | str:
    """Return the number that a text is, else the text.

    >>> number_or_text("200"), number_or_text("30m")
    (200, '30m')
    """
    try:
        return int(text)
    except ValueError:
        return text


def _add_flag(
    place: Any, item: Field, hint: Any, choices: Mapping[str, Sequence[str]], paths: Collection[str]
) -> None:
    shown: dict[str, Any] = dict(item.metadata)
    default: Any = item.default
    text = shown["help"].replace("%", "%%")
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    if shown["nargs"] == 0:
        options |= {"action": "store_true"}
    elif hint in (bool, bool | None):
        options |= {"action": argparse.BooleanOptionalAction}
        text += {False: " (default: off)", True: " (default: on)"}.get(default, "")
    else:
        options |= _value_options(item, hint, choices, paths)
        options |= {key: shown[key] for key in ("metavar", "nargs") if shown[key] is not None}
        if default not in (MISSING, None, "", (), "auto") and "default" not in text:
            text += f" (default: {' '.join(default) if isinstance(default, tuple) else default})"
    if shown["positional"]:
        place.add_argument(item.name, help=text, **options)
        return
    required = {"required": True} if default is MISSING else {}
    place.add_argument(flag_of(item.name), dest=item.name, help=text, **options, **required)


def _value_options(
    item: Field, hint: Any, choices: Mapping[str, Sequence[str]], paths: Collection[str]
) -> dict[str, Any]:
    if hint == int | str:
        return {"type": number_or_text}
    if isinstance(hint, types.UnionType):  # int | None: absent unless it is given
        hint = next(one for one in get_args(hint) if one is not type(None))
    if item.name in choices:
        # checked by the config with all else; here only for --help
        return {"type": str, "metavar": "|".join(choices[item.name])}
    if isinstance(hint, types.GenericAlias):  # tuple[str, ...]
        of = expanded if item.name in paths else get_args(hint)[0]
        return {"type": of, "nargs": "*", "metavar": item.name.rsplit("_", 1)[-1].upper()}
    if item.name in paths:
        return {"type": expanded, "metavar": "TEXT"}
    return {"type": hint, "metavar": _METAVARS[hint]}
