"""All settings of one run. Frozen, so what was validated is what runs.

Every field is a flag of train.py with dashes for underscores (command_line.py), a key of a --config
file (toml_file.py) and an entry of run.json. They stand in sections/, a file for each heading of
--help. The defaults are Med-R1's (arXiv:2503.13939), meant for real models; configs/phantoms.toml
holds those of the embedded one.
"""

import math
from dataclasses import dataclass

from grpo.settings.checks import problems_of
from grpo.settings.choices import CHOICES, kind_of
from grpo.settings.records import Comparison, Objective, Sampling
from grpo.settings.sections.adapters import AdapterSettings
from grpo.settings.sections.asking import Asking
from grpo.settings.sections.keeping import KeepingSettings
from grpo.settings.sections.machine import MachineSettings
from grpo.settings.sections.model_and_data import ModelAndData
from grpo.settings.sections.objective import ObjectiveSettings
from grpo.settings.sections.rewarding import RewardSettings
from grpo.settings.sections.run_length import RunLength
from grpo.settings.sections.sampling import SamplingSettings
from grpo.settings.sections.update import UpdateSettings
from models.lora.settings import LoraSettings

# The headings of --help, in their order.
SECTIONS: dict[str, type] = {
    "model and data": ModelAndData,
    "what the model is asked to do": Asking,
    "length and size of the run": RunLength,
    "sampling": SamplingSettings,
    "rewards and advantages": RewardSettings,
    "objective": ObjectiveSettings,
    "optimizer": UpdateSettings,
    "adapters (LoRA)": AdapterSettings,
    "machine and memory": MachineSettings,
    "evaluating and saving": KeepingSettings,
}


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(
    KeepingSettings,
    MachineSettings,
    AdapterSettings,
    UpdateSettings,
    ObjectiveSettings,
    RewardSettings,
    SamplingSettings,
    RunLength,
    Asking,
    ModelAndData,
):
    """Checked on construction: all problems are reported at once, each with a way out."""

    @property
    def kind(self) -> str:
        """What a step does, as settings say which of them use it: "grpo", "exact" or "sft"."""
        return kind_of(self.method, exact=self.exact_no_think)

    @property
    def samples(self) -> bool:
        """Whether a step samples completions."""
        return self.kind == "grpo"

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
            logprob_distribution=self.logprob_distribution,
            max_completion_tokens=self.max_completion_tokens,
            group_size=self.group_size,
        )

    @property
    def comparison(self) -> Comparison:
        """How rewards become advantages."""
        return Comparison(
            aggregation=self.reward_aggregation,
            scale=self.advantage_scale,
            baseline=self.advantage_baseline,
        )

    @property
    def soft_limit(self) -> tuple[int, int]:
        """The limit of a completion, and over how many tokens before it a penalty rises."""
        return self.max_completion_tokens, self.soft_overlong_tokens

    @property
    def objective(self) -> Objective:
        """What the loss needs to know."""
        return Objective(
            epsilon_low=self.epsilon_low,
            epsilon_high=self.epsilon_high,
            beta=self.beta,
            ratio_level=self.ratio_level,
            ratio_cap=self.ratio_cap,
            surrogate=self.surrogate,
            kl_estimator=self.kl_estimator,
            entropy_bonus=self.entropy_bonus,
        )

    @property
    def has_reference(self) -> bool:
        """Whether any step has a KL, so that there is a reference throughout."""
        return self.method == "grpo" and max(self.beta, self.beta_final) > 0

    def has_own_reference(self, done: int) -> bool:
        """Whether after so many steps the reference is another than the start model and the policy.

        With --reference-sync the next step makes it the policy wherever it is due.

        >>> config = GRPOConfig(reference_sync=2)
        >>> [done for done in range(8) if config.has_own_reference(done)]
        [3, 5, 7]
        """
        every = self.reference_sync
        return 0 < every < done and done % every > 0

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
