"""The settings of a run, those that somebody gave first."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from grpo.settings.config import GRPOConfig
from process.flags import flag_of
from process.page import fitted
from process.shown import shown_line


def settings_lines(config: GRPOConfig, origins: Mapping[str, str]) -> list[str]:
    """Return a line per setting that was given, and one of all defaults, if there are any."""
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    given = {name: values.pop(name) for name in origins if name in values}
    lines = ["Settings"]
    width = max((len(flag_of(name)) for name in given), default=0)
    for name, value in given.items():
        lines.append(f"  {flag_of(name):<{width}}  {_text(value)}  ({origins[name]})")
    if values:
        lines.append(fitted("  by default: " + ", ".join(_defaults(values))))
    return lines


def _defaults(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name} {_text(value)}"


def _text(value: Any) -> str:
    """Return a value as the command line has it.

    >>> _text(("a.json", "b.json")), _text(()), _text(""), _text(True)
    ('a.json b.json', 'none', 'none', 'on')
    """
    if isinstance(value, tuple):
        return shown_line(" ".join(map(str, value))) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value in ("", None) else shown_line(str(value))
