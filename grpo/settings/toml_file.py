"""Settings from a TOML file: read, and made of the types that the config's fields want.

A file holds the config's field names at its top level; a table [sft] replaces some of them where
the method is sft. Shipped files lie in configs/.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from grpo.settings.choices import PATHS
from grpo.settings.config import GRPOConfig
from process.flags import flag_of
from process.paths import expanded
from process.toml import as_type, nearest, read_toml_file

Settings = dict[str, Any]


def embedded_default() -> Path:
    """The settings of `python train.py` without a flag; shipped with the project."""
    return Path(str(files("configs"))) / "phantoms.toml"


def shipped_or_own(name: str | Path) -> Path:
    """Return the file of this name; where there is none, the shipped one that is called like it.

    A shipped file is named with or without ``configs/`` and ``.toml``: an installed groupwise has
    no such folder beside it. Any other name stays as it is.
    """
    path = Path(name)
    within = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    by_name = bool(within.name) and str(within.parent) in (".", "objectives")
    file = f"{within.name.removesuffix('.toml')}.toml"
    shipped = embedded_default().parent / within.parent / file
    return shipped if by_name and not path.exists() and shipped.is_file() else path


def shipped_names() -> list[str]:
    """Return the names of the shipped files that hold settings, as --config takes them."""
    default = embedded_default()
    presets = sorted((default.parent / "objectives").glob("*.toml"))
    return [default.name, *(f"objectives/{preset.name}" for preset in presets)]


def read_toml(path: str | Path) -> tuple[Settings, Settings]:
    """Return the settings of a TOML file, or of a shipped one, and those of its [sft] table."""
    table = read_toml_file(shipped_or_own(path), f"config {path}", ", ".join(shipped_names()))
    sft = table.pop("sft", {})
    if not isinstance(sft, dict):
        raise ValueError(f"config {path}: [sft] must be a table of settings, got {sft!r}")
    return typed(table, f"config {path}"), typed(sft, f"config {path}, [sft]")


def typed(table: Mapping[str, Any], where: str) -> Settings:
    """Return the settings of a parsed file as the config's fields want them, all checked.

    Raises:
        ValueError: naming every unknown key, with the nearest known one, and every wrong type.
    """
    hints = get_type_hints(GRPOConfig)
    settings, problems = {}, []
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in hints:
            near = nearest(name, hints)
            problems.append(f"unknown key {key!r}" + (f": is it {near}?" if near else ""))
            continue
        if name in settings:
            problems.append(f"{name} is given twice, with dashes and without: leave one")
            continue
        try:
            settings[name] = as_type(value, hints[name])
            if name in PATHS:
                settings[name] = _expanded(settings[name])
        except TypeError:
            problems.append(f"{key}={value!r} has the wrong type: see {flag_of(name)} in --help")
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
    return settings


def _expanded(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return expanded(value) if isinstance(value, str) else tuple(map(expanded, value))
