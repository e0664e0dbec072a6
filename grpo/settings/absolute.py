"""Settings whose paths hold from any folder: a run can be resumed from wherever its user stands."""

from dataclasses import replace

from grpo.settings.config import GRPOConfig
from models.files import EMBEDDED
from process.paths import expanded, user_path


def with_absolute_paths(config: GRPOConfig) -> GRPOConfig:
    """Return the config with every local path absolute: a run can be resumed from any directory.

    Names that are no path here stay: hub ids, registered rewards, and what is built in (`tiny`,
    `tiny_open`, `phantoms`), also where a file or folder of that name is there.
    """

    def absolute(name: str) -> str:
        if is_phantoms_name(name):
            return name
        path = user_path(name)
        return str(path.absolute() if path.exists() else expanded(name))

    rewards = []
    for name in config.rewards:
        file, colon, function = name.rpartition(":")
        rewards.append(f"{absolute(file)}:{function}" if colon else name)
    return replace(
        config,
        model=config.model if config.model in EMBEDDED else absolute(config.model),
        train_json=tuple(absolute(name) for name in config.train_json if name),
        eval_json=tuple(absolute(name) for name in config.eval_json),
        image_root=config.image_root and absolute(config.image_root),
        prompt_template=config.prompt_template and absolute(config.prompt_template),
        rewards=tuple(rewards),
        reward_arguments=config.reward_arguments and absolute(config.reward_arguments),
        output_dir=expanded(config.output_dir),
    )


def is_phantoms_name(name: str) -> bool:
    """As data.named.is_phantoms, which this package does not import; a test compares the two."""
    return name == "phantoms" or name.startswith("phantoms:")


def is_answered_in_words(name: str) -> bool:
    """Return whether a name means phantoms that are asked about without letters.

    As data.sources.phantom_parts tells, which this package does not import; a test compares them.
    """
    return is_phantoms_name(name) and name.split(":")[1:2] in (["open"], ["yes_no"], ["count"])
