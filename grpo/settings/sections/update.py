"""How the weights are moved."""

from dataclasses import dataclass

from grpo.settings.choices import OptimizerName, Schedule
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class UpdateSettings:
    """How the weights are moved."""

    learning_rate: float = setting(
        1e-6, "peak of the schedule (sft: 1e-5 unless given; with --lora-rank ten times as high)"
    )
    lr_schedule: Schedule = setting("linear", "how it falls after the warm-up: to 0, or not")
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
