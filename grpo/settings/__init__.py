"""Where a run's settings come from: file, flags, resumed run, the machine; one frozen config."""

from grpo.settings.card import card_for
from grpo.settings.config import GRPOConfig
from grpo.settings.flags import config_of, say_shipped, train_parser
from grpo.settings.sources import config_to_resume, resolve_config, with_absolute_paths

__all__ = [
    "GRPOConfig",
    "card_for",
    "config_of",
    "config_to_resume",
    "resolve_config",
    "say_shipped",
    "train_parser",
    "with_absolute_paths",
]
