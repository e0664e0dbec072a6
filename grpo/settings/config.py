"""All settings of one run. Frozen, so what was validated is what runs.

Every field is a flag of train.py with dashes for underscores (command_line.py), a key of a --config
file (toml_file.py) and an entry of run.json. The defaults are Med-R1's (arXiv:2503.13939), meant
for real models; configs/phantoms.toml holds those of the embedded one.
"""

import math
from dataclasses import dataclass

from grpo.settings.checks import problems_of
from grpo.settings.choices import (
    CHOICES,
    AdvantageScale,
    Dtype,
    GroundingKind,
    LogprobBackend,
    LossNormalization,
    LRSchedule,
    Method,
    OptimizerName,
)
from grpo.settings.records import Clip, Sampling
from models.lora.settings import LoraSettings
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class GRPOConfig:
    """Checked on construction: all problems are reported at once, each with a way out."""

    # Model and data.
    model: str = setting(
        "tiny", "directory or hub id of a Qwen2-VL or Qwen2.5-VL; 'tiny' is the embedded one"
    )
    train_json: tuple[str, ...] = setting(
        ("phantoms",),
        "training files in a published format, folders of them; 'phantoms', 'phantoms:CT', ..",
    )
    eval_json: tuple[str, ...] = setting(
        (), "held-out files or folders; without any, nothing is evaluated during the run"
    )
    image_root: str = setting("", "folder that the rows' image paths start from")
    only: tuple[str, ...] = setting(
        (),
        "read only rows with these values, such as q_lang=en answer_type=CLOSED; train: or eval:"
        " before one makes it about that part of the data (docs/rows.md)",
        "FIELD=VALUE",
    )
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
    seed: int = setting(
        0,
        "of the order of examples, of sampling, of --eval-limit's sample and of the generators that"
        " a reward may draw from (random, numpy, torch)",
    )

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
    reward_arguments: str = setting(
        "",
        "TOML file of arguments for reward functions of your own: a table [function] for each",
        "FILE.toml",
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
    learning_rate: float = setting(
        1e-6, "peak of the schedule (sft: 1e-5 unless given; with --lora-rank ten times as high)"
    )
    lr_schedule: LRSchedule = setting("linear", "how it falls after the warm-up: to 0, or not")
    warmup_steps: int = setting(0, "steps over which it rises linearly")
    weight_decay: float = setting(0.0, "AdamW's, on matrices only")
    optimizer: OptimizerName = setting(
        "adamw",
        "adamw_8bit: its moments take 2 bytes per weight, not 8; the library bitsandbytes is needed"
        " (docs/small_cards.md)",
    )
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm")
    max_bad_steps: int = setting(
        5, "stop after so many steps in a row without an update, their gradients being NaN or inf"
    )
    freeze_vision: bool = setting(False, "keep the vision tower's weights as they are")

    # Adapters (LoRA): trained in place of the model's own weights (docs/lora.md).
    lora_rank: int = setting(0, "train adapters of this rank, and no weight of the model; 0: none")
    lora_alpha: int | None = setting(
        None, "what an adapter adds is multiplied by this / rank; default: 2 x rank"
    )
    lora_targets: tuple[str, ...] = setting(
        ("text",),
        "linear layers that get one: text, vision, all-linear, or names such as q_proj",
    )
    lora_dropout: float = setting(
        0.0, "0 alone: the distribution that is sampled has to be the one that is trained"
    )
    merge_adapters: bool = setting(
        False, "checkpoints are plain model directories, the adapters merged; they lie in adapter/"
    )

    # Machine and memory.
    device: str = setting("auto", "cpu, cuda, cuda:1, ..; auto: cuda where there is one")
    dtype: Dtype = setting("auto", "of the weights in every forward; auto: bfloat16 on cuda")
    gradient_checkpointing: bool | None = setting(
        None, "recompute activations in the backward pass; default: where they do not fit a GPU"
    )
    reference_device: str = setting(
        "auto",
        "cpu: keep the frozen reference there, layers copied over as they are needed;"
        " auto: on the run's device",
    )
    offload_optimizer: bool = setting(
        False,
        "keep float32 masters, their gradients and AdamW's moments in CPU memory, and update there:"
        " 16 bytes per weight fewer on the device, slower (docs/small_cards.md)",
    )
    reshard_after_forward: bool | None = setting(
        None,
        "of several processes: free a layer's gathered weights after its forward, and gather them"
        " again for its backward; default: where keeping them would not fit",
    )
    logprob_backend: LogprobBackend = setting(
        "auto", "cuda: the hand-written kernels; torch: plain PyTorch; auto: cuda where it can run"
    )
    deterministic: bool = setting(
        False,
        "on cuda: the same run twice gives the same numbers to the bit, somewhat slower; a CPU's"
        " does so anyway",
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
    save_every: int | str = setting(
        200,
        "steps between checkpoints, or the time from one to the next: 90s, 30m, 2h; 0: after the"
        " last step only",
        "N|30m",
    )
    save_weights_only: bool = setting(
        False,
        "checkpoints without what --resume goes on from, a seventh of the size: for evaluation, or"
        " a new run",
    )
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

    @property
    def lora(self) -> LoraSettings | None:
        """What adapters are trained; None where the model's own weights are."""
        if self.lora_rank == 0:
            return None
        alpha = 2 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
        return LoraSettings(self.lora_rank, alpha, self.lora_targets)

    def total_steps(self, num_examples: int) -> int:
        """Steps of the whole run; the last one of an epoch is filled up from the next order."""
        if self.max_steps:
            return self.max_steps
        return max(1, math.ceil(self.epochs * num_examples / self.prompts_per_step))

    def __post_init__(self) -> None:
        problems = [f"  - {problem}" for problem in problems_of(self, CHOICES)]
        if problems:
            raise ValueError("\n".join(["these settings cannot run:", *problems]))
