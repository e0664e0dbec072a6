"""Where a run's settings come from: file, flags, resumed run, the machine; one frozen config."""

from grpo.settings.card import card_for
from grpo.settings.command_line import (
    Asked,
    config_of,
    origins_of,
    read_command_line,
    train_parser,
)
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve_config
from grpo.settings.reward_code import check_trusted

__all__ = [
    "Asked",
    "GRPOConfig",
    "card_for",
    "check_trusted",
    "config_of",
    "origins_of",
    "read_command_line",
    "resolve_config",
    "train_parser",
]
