"""What a run's settings say of its memory: how it holds its model, how much it has at once."""

from functools import lru_cache

from grpo.logprobs.api import TILE_BYTES
from grpo.settings.config import GRPOConfig
from models.checkpoint.loading import DTYPES
from models.files import transformers_config
from models.memory import (
    MOMENTS,
    QUANTIZED_MOMENTS,
    AdapterSizes,
    Held,
    MemoryEstimate,
    ModelSizes,
    Place,
    Work,
    adapter_sizes,
    estimate_memory,
    sizes_of_model,
    weightless,
)
from models.named_model import model_directory
from process.ranks import place

QUESTION_TOKENS = 128  # of a prompt beside its image, where nobody has counted them
SFT_TOKENS = 16  # a supervised target, or a listed answer, is a letter in its tags
ROWS = {"sft": 1, "exact": 5}  # of a prompt, where none is sampled: a choice has about five options


def memory_of_run(
    config: GRPOConfig,
    *,
    ranks: int | None = None,
    prompt_tokens: int | None = None,
    images: int = 1,
) -> MemoryEstimate:
    """Return what a run with these (resolved) settings needs of one process.

    Args:
        config: with a definite device, dtype and place of the reference.
        ranks: how many processes share the run; by default, as many as there are.
        prompt_tokens: of the longest prompt; by default its images and QUESTION_TOKENS.
        images: of the prompt that shows most of them.
    """
    ranks = place().size if ranks is None else ranks
    sizes, adapters = _sizes(config.model, config.lora_rank, config.lora_targets)
    held = held_by(config, ranks=ranks, adapters=adapters)
    work = work_of(config, ranks=ranks, prompt_tokens=prompt_tokens, images=images)
    return estimate_memory(sizes, held, work)


def held_by(config: GRPOConfig, *, ranks: int, adapters: AdapterSizes | None) -> Held:
    """Return how a run holds its model."""
    on_cuda = config.device.startswith("cuda")
    reference: Place = "none"
    if config.has_reference:
        reference = "device" if config.reference_device == config.device else "cpu"
    return Held(
        dtype=DTYPES[config.dtype],
        checkpointing=bool(config.gradient_checkpointing),
        freeze_vision=config.freeze_vision,
        reference=reference,
        samples=config.samples,
        on_cuda=on_cuda,
        tile_bytes=TILE_BYTES["cuda" if on_cuda else "cpu"],
        ranks=ranks,
        keeps_weights=config.reshard_after_forward is False,
        moment_bytes=QUANTIZED_MOMENTS if config.optimizer == "adamw_8bit" else MOMENTS,
        offloads_optimizer=config.offload_optimizer,
        adapters=adapters,
    )


def work_of(config: GRPOConfig, *, ranks: int, prompt_tokens: int | None, images: int = 1) -> Work:
    """Return what the process with the most prompts has of a step."""
    samples = config.samples
    visual = images * image_tokens(config.image_size)
    return Work(
        prompts=-(-config.prompts_per_step // ranks),
        group_size=config.group_size if samples else ROWS[config.kind],
        prompt_tokens=prompt_tokens or visual + QUESTION_TOKENS,
        completion_tokens=max(2, config.max_completion_tokens if samples else SFT_TOKENS),
        patches=4 * visual,
        budget=config.micro_batch_tokens,
        iterations=config.num_iterations if samples else 1,
    )


def checkpoint_bytes(config: GRPOConfig, steps: range = range(0)) -> int:
    """Return what a checkpoint of a run takes on the disk: weights, and the optimizer's state.

    With them goes a reference of its own, if it has one after any of the steps that are to come.
    """
    sizes, adapters = _sizes(config.model, config.lora_rank, config.lora_targets)
    held = held_by(config, ranks=1, adapters=adapters)
    if adapters is not None:
        weights, trained, master = 4 * adapters.parameters, adapters.parameters, 0
    else:
        weights = sizes.parameters * held.size
        trained = sizes.parameters - (sizes.vision if held.freeze_vision else 0)
        master = 4 * trained if held.is_half else 0
    state = master + round(trained * held.moment_bytes)
    if any(map(config.has_own_reference, range(steps.start + 1, steps.stop + 1))):
        state += trained * held.size
    return weights + (0 if config.save_weights_only else state)


def image_tokens(image_size: int) -> int:
    """Return the visual tokens of an image; those of their own size are taken as Med-R1's 384.

    >>> image_tokens(384)
    196
    """
    return max(1, round((image_size or 384) / 28)) ** 2


@lru_cache(maxsize=4)  # a dry run asks for many settings of one model
def _sizes(
    model: str, rank: int, targets: tuple[str, ...]
) -> tuple[ModelSizes, AdapterSizes | None]:
    shapes = weightless(transformers_config(model_directory(model)))
    return sizes_of_model(shapes), adapter_sizes(shapes, rank, targets)
