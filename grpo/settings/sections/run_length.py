"""How long a run is, and how large its steps are."""

from dataclasses import dataclass

from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How long a run is, and how large its steps are."""

    max_steps: int = setting(0, "optimizer batches; 0: as many as --epochs asks for")
    epochs: float = setting(1.0, "passes over the training rows")
    prompts_per_step: int = setting(4, "questions (groups) per step")
    group_size: int = setting(4, "completions per question, G in the papers", only="grpo")
    num_iterations: int = setting(
        1, "optimizer passes over each sampled batch, mu in the papers", only="grpo"
    )
    micro_batch_tokens: int = setting(
        4096, "tokens of one forward with gradient: changes memory, never the gradient"
    )
    seed: int = setting(
        0,
        "of the order of examples, of sampling, of --eval-limit's sample and of the generators that"
        " a reward may draw from (random, numpy, torch)",
    )
