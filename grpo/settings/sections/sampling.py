"""Which questions are asked, and how completions are sampled, or listed instead."""

from dataclasses import dataclass

from grpo.settings.choices import GRPO, CurriculumName, LogprobDistribution
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """Which questions are asked, and how completions are sampled, or listed instead."""

    # The same temperature divides the logits wherever log-probabilities are computed.
    max_completion_tokens: int = setting(256, "longest completion; longer ones are truncated")
    temperature: float = setting(1.0, "divides the logits before sampling", only=GRPO)
    top_k: int = setting(0, "sample among the k likeliest tokens; 0: off", only="grpo")
    top_p: float = setting(
        1.0, "sample among the likeliest tokens of this total; 1: off", only="grpo"
    )
    logprob_distribution: LogprobDistribution = setting(
        "full",
        "whose log-probabilities are trained: the full distribution's, or those of what --top-k and"
        " --top-p kept of it when it was sampled, rescaled (needs --top-k)",
        only="grpo",
    )
    dynamic_sampling: int = setting(
        0,
        "throw groups away whose rewards all agree, and take the next questions in their place, up"
        " to this often in a step (DAPO); 0: off",
        only="grpo",
    )
    curriculum: CurriculumName = setting(
        "none",
        "pass_rate: questions are drawn by how undecided each is, from the running share of its"
        " completions that pass; an epoch is then as many draws as there are rows; none: in turn",
        only="grpo",
    )
    exact_no_think: bool = setting(
        False,
        "with --mode no_think: sample nothing, list every well-formed answer of a choice and take"
        " the exact gradient of the expected reward (docs/objectives.md)",
        only=GRPO,
    )
