"""From text to a number: modes and their tags, the one parser, accuracy, format, registry.

A reward is a plain function of text. This folder imports the standard library and itself only, so
a reward can be read, tested and searched for loopholes without a model.
"""

from rewards.accuracy import accuracy_reward
from rewards.format import format_reward
from rewards.modes import MODES, Mode, get_mode
from rewards.parse_once import ParseOnce
from rewards.parsing import ParsedCompletion, parse_completion
from rewards.registry import REWARDS, load_rewards
from rewards.token_f1 import token_f1
from rewards.trial import try_rewards

__all__ = [
    "MODES",
    "REWARDS",
    "Mode",
    "ParseOnce",
    "ParsedCompletion",
    "accuracy_reward",
    "format_reward",
    "get_mode",
    "load_rewards",
    "parse_completion",
    "token_f1",
    "try_rewards",
]
