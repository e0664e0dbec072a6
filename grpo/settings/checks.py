"""What settings cannot run: the checks that GRPOConfig makes of itself."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, get_type_hints

from grpo.settings.save_every import seconds_between
from grpo.settings.variants import variant_problems
from process.conditions import check_conditions
from process.flags import flag_of
from process.toml import as_type

if TYPE_CHECKING:
    from grpo.settings.config import GRPOConfig

_AT_LEAST_ONE = (
    *("prompts_per_step", "num_iterations", "max_completion_tokens", "keep_checkpoints"),
    "max_bad_steps",
)
_NOT_NEGATIVE = (
    *("image_size", "max_steps", "top_k", "beta", "beta_final", "warmup_steps", "weight_decay"),
    *("soft_overlong_tokens", "reference_sync", "ratio_cap", "sampler_correction_cap"),
    "dynamic_sampling",
    *("eval_every", "eval_limit", "seed", "lora_rank"),
)
_POSITIVE = ("epochs", "learning_rate", "max_grad_norm")
_LARGEST = 1e18  # as rewards/registry.py has it for rewards; it overflows what compares them


def problems_of(config: "GRPOConfig", choices: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what is wrong with a run's settings, each with a way out.

    Args:
        config: all of them.
        choices: setting -> the names that it may have.
    """
    if wrong := list(_type_problems(config)):
        yield from wrong  # which nothing below could compare
        return
    for item in fields(config):
        value = getattr(config, item.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                yield f"{item.name}={number} must be a finite number"
    if config.seed >= 2**63:
        yield f"seed={config.seed} is too large: use one below 2^63"
    for name, names in choices.items():
        if getattr(config, name) not in names:
            yield f"{name}={getattr(config, name)!r} is unknown: use one of {', '.join(names)}"
    for name in _AT_LEAST_ONE:
        if getattr(config, name) < 1:
            yield f"{name}={getattr(config, name)} must be at least 1"
    for name in _NOT_NEGATIVE:
        if getattr(config, name) < 0:
            yield f"{name}={getattr(config, name)} must not be negative: use 0 or more"
    for name in _POSITIVE:
        if getattr(config, name) <= 0:
            yield f"{name}={getattr(config, name)} must be above 0"
    for name in ("device", "reference_device"):
        if problem := unknown_device(name, getattr(config, name)):
            yield problem
    if problem := _unknown_interval(config.save_every):
        yield problem
    try:
        check_conditions(config.only, ("train", "eval") if config.eval_json else ("train",))
    except ValueError as error:
        yield str(error)
    if not config.train_json:
        yield "train_json is empty: name at least one file"
    yield from _sampling_problems(config)
    yield from _objective_problems(config)
    yield from variant_problems(config)
    yield from _adapter_problems(config)


def _type_problems(config: "GRPOConfig") -> Iterator[str]:
    """Yield what a flag or a file could not have said, and so run.json could not be read with."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        try:
            as_type(value, hint)
        except TypeError:
            yield f"{name}={value!r} has the wrong type: see {flag_of(name)} in --help"


def unknown_device(name: str, value: str) -> str | None:
    """Return what is wrong with a device's spelling; whether there is one, only torch can tell."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return None
    return f"{name} {value!r} is not there: use one of cpu, cuda, cuda:N, auto"


def _unknown_interval(save_every: int | str) -> str | None:
    if isinstance(save_every, int) and save_every < 0:
        return f"save_every={save_every} must not be negative: use 0 or more"
    try:
        seconds_between(save_every)
    except ValueError as error:
        return f"{error}"
    return None


def _sampling_problems(config: "GRPOConfig") -> Iterator[str]:
    if config.method == "grpo" and config.group_size < 2:
        yield f"group_size={config.group_size} must be at least 2: advantages compare siblings"
    if config.temperature <= 0:
        yield (
            f"temperature={config.temperature} must be positive: greedy siblings are identical and"
            " teach nothing; use 1.0"
        )
    if not 0 < config.top_p <= 1:
        yield f"top_p={config.top_p} must lie in (0, 1]: 1 switches it off"
    if config.micro_batch_tokens <= config.max_completion_tokens:
        yield (
            f"micro_batch_tokens={config.micro_batch_tokens} holds no completion of"
            f" max_completion_tokens={config.max_completion_tokens}: raise the first, or lower the"
            " second"
        )


def _objective_problems(config: "GRPOConfig") -> Iterator[str]:
    # of the clip alone: another surrogate does not know both, and idle.py says so
    low, high = config.epsilon_low, config.epsilon_high
    if config.surrogate == "clip" and not (0 < low <= high and low < 1):
        yield (
            f"need 0 < epsilon_low <= epsilon_high and epsilon_low < 1, got {low}"
            f" and {high}: set both to 0.2 for plain GRPO"
        )
    if not config.rewards:
        yield "rewards is empty: name at least one reward function, such as accuracy"
    if config.reward_weights and len(config.reward_weights) != len(config.rewards):
        yield (
            f"reward_weights has {len(config.reward_weights)} numbers for {len(config.rewards)}"
            f" reward functions ({', '.join(config.rewards)}): give one each, in the same order"
        )
    if config.reward_weights and not any(config.reward_weights):
        yield "reward_weights are all 0: nothing would be learned; give at least one weight"
    if config.grounding_weight <= 0:
        yield f"grounding_weight={config.grounding_weight} must be above 0: grounding=none is off"
    if config.grounding_weight > _LARGEST:
        yield f"grounding_weight={config.grounding_weight} must not be above {_LARGEST:g}"
    if config.grounding != "penalty" and config.grounding_weight != 1.0:
        yield (
            f"grounding_weight={config.grounding_weight} is not used by"
            f" grounding={config.grounding}: leave it away, or use --grounding penalty"
        )
    if config.optimizer == "adamw_8bit" and config.offload_optimizer:
        yield (
            "optimizer=adamw_8bit does not go with offload_optimizer: moments in CPU memory take"
            " none of the device's, and a CPU unpacks 8-bit ones slowly; give one of the two"
        )
    if config.method == "sft" and config.mode != "no_think":
        yield (
            f"mode={config.mode} does not go with method=sft, whose target is the bare answer:"
            " leave --mode away, or use no_think"
        )


def _adapter_problems(config: "GRPOConfig") -> Iterator[str]:
    if config.lora_dropout != 0:
        yield (
            f"lora_dropout={config.lora_dropout} must be 0: completions are sampled without dropout"
            " (from merged weights), and the update has to train the distribution that was sampled"
        )
    if config.lora_rank < 1:
        usual = {item.name: item.default for item in fields(config)}
        for name in ("lora_alpha", "lora_targets", "merge_adapters"):
            if getattr(config, name) != usual[name]:
                yield f"{name} is not used without adapters: give lora_rank, or leave it away"
        return
    if config.reference_sync:
        yield (
            f"reference_sync={config.reference_sync} does not go with lora_rank="
            f"{config.lora_rank}: the reference is the policy with its adapters off, and has no"
            " weights of its own to follow with; leave it away, or train the whole model without"
            " lora_rank"
        )
    if config.lora_alpha is not None and config.lora_alpha < 1:
        yield f"lora_alpha={config.lora_alpha} must be at least 1: leave it away for 2 x lora_rank"
    if not config.lora_targets:
        yield "lora_targets is empty: name at least one, such as text"
    if config.freeze_vision and (tower := {"vision", "all-linear"} & {*config.lora_targets}):
        yield (
            f"freeze_vision keeps the vision tower as it is, and lora_targets={tower.pop()} puts"
            " adapters there: leave one of them away"
        )
