"""Adapters (LoRA), trained in place of the model's own weights: docs/lora.md."""

from dataclasses import dataclass

from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Adapters (LoRA), trained in place of the model's own weights: docs/lora.md."""

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
