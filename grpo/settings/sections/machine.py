"""Where a run computes, and what it keeps in which memory."""

from dataclasses import dataclass

from grpo.settings.choices import Dtype, LogprobBackend
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """Where a run computes, and what it keeps in which memory."""

    device: str = setting("auto", "cpu, cuda, cuda:1, ..; auto: cuda where there is one")
    dtype: Dtype = setting("auto", "of the weights in every forward; auto: bfloat16 on cuda")
    gradient_checkpointing: bool | None = setting(
        None, "recompute activations in the backward pass; default: where they do not fit a GPU"
    )
    reference_device: str = setting(
        "auto",
        "cpu: keep the frozen reference there, layers copied over as they are needed;"
        " auto: on the run's device",
        only=("grpo", "exact"),
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
        False,
        "before training, compare sampler and update with transformers' own model",
        only="grpo",
    )
    profile: bool = setting(
        False, "trace a few steps and print where their time went; kept in RUN_DIR/profile"
    )
