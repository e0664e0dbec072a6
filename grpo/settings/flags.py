"""train.py's flags, generated from the config's fields and grouped as the class is."""

import argparse
from dataclasses import fields

from grpo.settings.config import CHOICES, HEADINGS, PATHS, GRPOConfig
from process.flags import Group, add_flags


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of GRPOConfig; those that are not given are absent from the result."""
    names = [item.name for item in fields(GRPOConfig)]
    starts = [*map(names.index, HEADINGS), len(names)]
    groups = [
        Group(title, tuple(names[start:end]))
        for title, start, end in zip(HEADINGS.values(), starts, starts[1:], strict=False)
    ]
    add_flags(parser, GRPOConfig, groups, choices=CHOICES, paths=PATHS)
