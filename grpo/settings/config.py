"""All settings of one run. Frozen, so what was validated is what runs.

Every field is a flag of train.py with dashes for underscores (grpo/settings/flags.py), a key of a
--config file (grpo/settings/sources.py) and an entry of run.json. The defaults are Med-R1's
(arXiv:2503.13939), meant for real models; configs/phantoms.toml holds those of the embedded one.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from grpo.settings.records import Clip, Sampling
from process.flags import setting
from rewards.modes import MODES

# The next two are as grpo/advantages.py and grpo/loss.py have them; a test compares. Those files
# import torch, for which no --help and no mistyped flag should wait, and they import no sibling.
AdvantageScale = Literal["group", "batch", "none"]
LossNormalization = Literal["sequence", "token", "constant"]
Method = Literal["grpo", "sft"]
LRSchedule = Literal["linear", "cosine", "constant"]
Dtype = Literal["auto", "float32", "bfloat16"]
GroundingKind = Literal["none", "penalty", "scale"]
LogprobBackend = Literal["auto", "torch", "cuda"]


# The comment lines of the class are the headings of --help; HEADINGS names each one's first field.
HEADINGS = {
    "model": "model and data",
    "method": "what the model is asked to do",
    "max_steps": "length and size of the run",
    "max_completion_tokens": "sampling",
    "rewards": "rewards and objective",
    "learning_rate": "optimizer",
    "device": "machine and memory",
    "output_dir": "evaluating and saving",
}


@dataclass(frozen=True, kw_only=True)
class GRPOConfig:
    """Checked on construction: all problems are reported at once, each with a way out."""

    # Model and data.
    model: str = setting(
        "tiny", "directory or hub id of a Qwen2-VL or Qwen2.5-VL; 'tiny' is the embedded one"
    )
    train_json: tuple[str, ...] = setting(
        ("phantoms",), "training files in a published format; 'phantoms', 'phantoms:CT', .."
    )
    eval_json: tuple[str, ...] = setting(
        (), "held-out files; without any, nothing is evaluated during the run"
    )
    image_root: str = setting("", "folder that the rows' image paths start from")
    image_size: int = setting(
        384,
        "images become SIZE x SIZE pixels, then whole visual tokens (384: 392, 14 x 14 tokens);"
        " 0: the processor's own min/max pixels",
    )
    skip_bad_rows: bool = setting(
        False,
        "leave out, and count, rows that cannot be used: text, image or length (docs/rows.md)",
    )

    # What the model is asked to do.
    method: Method = setting("grpo", "grpo, or sft: the supervised baseline on the same data")
    mode: str = setting("think", "which tags a completion writes, in which order; sft: no_think")
    prompt_template: str = setting(
        "", "text file used as the user's turn, with {question} and {options} once each"
    )
    shuffle_options: bool = setting(
        False,
        "shuffle each question's options anew in every epoch; options that name each other, such as"
        " 'Both A and B', stay in their order",
    )

    # Length and size of the run.
    max_steps: int = setting(0, "optimizer batches; 0: as many as --epochs asks for")
    epochs: float = setting(1.0, "passes over the training rows")
    prompts_per_step: int = setting(4, "questions (groups) per step")
    group_size: int = setting(4, "completions per question, G in the papers")
    num_iterations: int = setting(1, "optimizer passes over each sampled batch, mu in the papers")
    micro_batch_tokens: int = setting(
        4096, "tokens of one forward with gradient: changes memory, never the gradient"
    )
    seed: int = setting(0, "of the order of examples, of sampling and of --eval-limit's sample")

    # Sampling. The same temperature divides the logits wherever log-probabilities are computed.
    max_completion_tokens: int = setting(256, "longest completion; longer ones are truncated")
    temperature: float = setting(1.0, "divides the logits before sampling")
    top_k: int = setting(0, "sample among the k likeliest tokens; 0: off")
    top_p: float = setting(1.0, "sample among the likeliest tokens of this total; 1: off")

    # Rewards and objective.
    rewards: tuple[str, ...] = setting(
        ("accuracy", "format"), "reward functions: registered names or path.py:function"
    )
    reward_weights: tuple[float, ...] = setting(
        (), "one per reward function, in the same order; default 1 each"
    )
    advantage_scale: AdvantageScale = setting("group", "which spread divides the advantages")
    loss_normalization: LossNormalization = setting(
        "sequence", "mean over sequences (DeepSeekMath), over tokens (DAPO), constant (Dr. GRPO)"
    )
    beta: float = setting(0.04, "weight of the KL to the start model; 0: no reference is loaded")
    epsilon_low: float = setting(0.2, "ratios are clipped below 1 - this")
    epsilon_high: float = setting(0.2, "ratios are clipped above 1 + this (DAPO raises it)")
    mask_truncated: bool = setting(False, "leave truncated completions out of the loss")
    grounding: GroundingKind = setting(
        "none",
        "penalty: a reward less the probability of its letter with the image blank; scale:"
        " advantages times 1 - that of the right letter; costs about one completion more per group",
    )
    grounding_weight: float = setting(1.0, "of that penalty; only with --grounding penalty")

    # Optimizer.
    learning_rate: float = setting(1e-6, "peak of the schedule (sft: 1e-5 unless given)")
    lr_schedule: LRSchedule = setting("linear", "how it falls after the warm-up: to 0, or not")
    warmup_steps: int = setting(0, "steps over which it rises linearly")
    weight_decay: float = setting(0.0, "AdamW's, on matrices only")
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm")
    max_bad_steps: int = setting(
        5, "stop after so many steps in a row without an update, their gradients being NaN or inf"
    )
    freeze_vision: bool = setting(False, "keep the vision tower's weights as they are")

    # Machine and memory.
    device: str = setting("auto", "cpu, cuda, cuda:1, ..; auto: cuda where there is one")
    dtype: Dtype = setting("auto", "of the weights in every forward; auto: bfloat16 on cuda")
    gradient_checkpointing: bool | None = setting(
        None, "recompute activations in the backward pass; default: on cuda only"
    )
    reference_device: str = setting(
        "auto",
        "cpu: keep the frozen reference there, layers copied over as they are needed;"
        " auto: on the run's device",
    )
    logprob_backend: LogprobBackend = setting(
        "auto", "cuda: the hand-written kernels; torch: plain PyTorch; auto: cuda where it can run"
    )

    verify_prefix: bool = setting(
        False, "before training, compare sampler and update with transformers' own model"
    )
    profile: bool = setting(
        False, "trace a few steps and print where their time went; kept in RUN_DIR/profile"
    )

    # Evaluating and saving.
    output_dir: str = setting("", "run directory; default runs/<date>-<time>-<model>")
    eval_every: int = setting(
        0,
        "steps between evaluations; 0: before the first and after the last. One with a new best"
        " accuracy saves a checkpoint at once",
    )
    eval_blank: bool = setting(
        True, "at every evaluation also ask the same questions with the images blank"
    )
    eval_limit: int = setting(0, "evaluate on a seeded sample of this many rows; 0: all")
    save_every: int = setting(200, "steps between checkpoints; 0: after the last step only")
    keep_checkpoints: int = setting(
        2,
        "how many of the newest checkpoints stay on disk; the one with the best held-out accuracy"
        " stays as well (one of a 2B model takes about 31 GB)",
    )

    @property
    def completions_per_step(self) -> int:
        """B = N * G."""
        return self.prompts_per_step * self.group_size

    @property
    def weights_of_rewards(self) -> tuple[float, ...]:
        """One weight per reward function."""
        return self.reward_weights or (1.0,) * len(self.rewards)

    @property
    def sampling(self) -> Sampling:
        """What the sampler needs to know."""
        return Sampling(
            seed=self.seed,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_completion_tokens=self.max_completion_tokens,
            group_size=self.group_size,
        )

    @property
    def clip(self) -> Clip:
        """What the loss needs to know."""
        return Clip(epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high, beta=self.beta)

    def with_rewards(self, names: Iterable[str]) -> "GRPOConfig":
        """Return the settings with these reward functions behind those that they name already.

        Raises:
            ValueError: there are other than one weight each, or nothing is rewarded in the method.
        """
        new = [name for name in names if name not in self.rewards]
        if new and self.method == "sft":
            raise ValueError(f"reward functions ({', '.join(new)}) are not used by method=sft")
        return replace(self, rewards=(*self.rewards, *new))

    def total_steps(self, num_examples: int) -> int:
        """Steps of the whole run; the last one of an epoch is filled up from the next order."""
        if self.max_steps:
            return self.max_steps
        return max(1, math.ceil(self.epochs * num_examples / self.prompts_per_step))

    def __post_init__(self) -> None:
        problems = [f"  - {problem}" for problem in _problems(self)]
        if problems:
            raise ValueError("\n".join(["these settings cannot run:", *problems]))


CHOICES: dict[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "mode": tuple(MODES),
    "advantage_scale": get_args(AdvantageScale),
    "loss_normalization": get_args(LossNormalization),
    "lr_schedule": get_args(LRSchedule),
    "dtype": get_args(Dtype),
    "grounding": get_args(GroundingKind),
    "logprob_backend": get_args(LogprobBackend),
}

_AT_LEAST_ONE = (
    *("prompts_per_step", "num_iterations", "max_completion_tokens", "keep_checkpoints"),
    "max_bad_steps",
)
# The fields that name files and folders; a reward may be path.py:function.
PATHS = (
    *("model", "train_json", "eval_json", "image_root", "prompt_template", "rewards"),
    "output_dir",
)
_NOT_NEGATIVE = (
    *("image_size", "max_steps", "top_k", "beta", "warmup_steps", "weight_decay"),
    *("eval_every", "eval_limit", "save_every", "seed"),
)
_POSITIVE = ("epochs", "learning_rate", "max_grad_norm")


def _problems(config: GRPOConfig) -> Iterator[str]:
    for item in fields(config):
        value = getattr(config, item.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                yield f"{item.name}={number} must be a finite number"
    if config.seed >= 2**63:
        yield f"seed={config.seed} is too large: use one below 2^63"
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            yield f"{name}={getattr(config, name)!r} is unknown: use one of {', '.join(choices)}"
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
    if not config.train_json:
        yield "train_json is empty: name at least one file"
    yield from _sampling_problems(config)
    yield from _objective_problems(config)


def unknown_device(name: str, value: str) -> str | None:
    """Return what is wrong with a device's spelling; whether there is one, only torch can tell."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return None
    return f"{name} {value!r} is not there: use one of cpu, cuda, cuda:N, auto"


def _sampling_problems(config: GRPOConfig) -> Iterator[str]:
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


def _objective_problems(config: GRPOConfig) -> Iterator[str]:
    if not 0 < config.epsilon_low <= config.epsilon_high or config.epsilon_low >= 1:
        yield (
            f"need 0 < epsilon_low <= epsilon_high and epsilon_low < 1, got {config.epsilon_low}"
            f" and {config.epsilon_high}: set both to 0.2 for plain GRPO"
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
    if config.grounding != "penalty" and config.grounding_weight != 1.0:
        yield (
            f"grounding_weight={config.grounding_weight} is not used by"
            f" grounding={config.grounding}: leave it away, or use --grounding penalty"
        )
    if config.method == "sft" and config.mode != "no_think":
        yield (
            f"mode={config.mode} does not go with method=sft, whose target is the bare answer:"
            " leave --mode away, or use no_think"
        )
