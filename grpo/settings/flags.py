"""Command-line flags, generated from the config's fields, so that no flag can be forgotten."""

import argparse
import types
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_type_hints

from grpo.settings.config import CHOICES, HEADINGS, PATHS, GRPOConfig
from process.paths import expanded


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of GRPOConfig, grouped as the class is.

    Flags that are not given are absent from the namespace: what was given can then be told from
    what is a default.
    """
    types_by_name = get_type_hints(GRPOConfig)
    group = parser
    for item in fields(GRPOConfig):
        if item.name in HEADINGS:
            group = parser.add_argument_group(HEADINGS[item.name])
        _add_flag(group, item, types_by_name[item.name])


def _add_flag(group: Any, item: Field, hint: Any) -> None:
    assert item.default is not MISSING
    text = item.metadata["help"].replace("%", "%%")
    options: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS}
    if hint in (bool, bool | None):
        options["action"] = argparse.BooleanOptionalAction
        text += {False: " (default: off)", True: " (default: on)"}.get(item.default, "")
    else:
        options |= _value_options(item, hint)
        if item.default not in ("", (), "auto") and "default" not in text:
            shown = " ".join(item.default) if isinstance(item.default, tuple) else item.default
            text += f" (default: {shown})"
    group.add_argument(f"--{item.name.replace('_', '-')}", help=text, **options)


def _value_options(item: Field, hint: Any) -> dict[str, Any]:
    if item.name in CHOICES:
        # checked by GRPOConfig with all other problems; here only for --help
        return {"type": str, "metavar": "|".join(CHOICES[item.name])}
    if isinstance(hint, types.GenericAlias):  # tuple[str, ...]
        of = expanded if item.name in PATHS else get_args(hint)[0]
        return {"type": of, "nargs": "*", "metavar": item.name.rsplit("_", 1)[-1].upper()}
    if item.name in PATHS:
        return {"type": expanded, "metavar": "TEXT"}
    return {"type": hint, "metavar": {int: "N", float: "X", str: "TEXT"}[hint]}
