"""One published model, trained on so many GPUs: all that is counted and estimated of it."""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch

from grpo.logprobs.api import TILE_BYTES
from models.architecture import QwenVL
from models.memory import (
    Held,
    MemoryEstimate,
    Work,
    estimate_memory,
    sizes_of_model,
    weightless,
)
from scripts.scale.cards import Card, Shares
from scripts.scale.communication import Communication, sampled_bytes, step_communication
from scripts.scale.flops import StepFlops, step_flops
from scripts.scale.published import config_of
from scripts.scale.shards import Shards, shards_of
from scripts.scale.sizes import sizes_of
from scripts.scale.times import Machine, StepTime, step_time
from scripts.scale.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is trained, how, and on what; the number of GPUs comes beside it."""

    model: str
    card: Card
    shares: Shares
    prompts_per_step: int = 0  # of all GPUs; 0: as many as there are GPUs, times the next
    prompts_per_gpu: int = 4
    group_size: int = 8
    image_size: int = 384
    question_tokens: int = 128
    completion_tokens: int = 256
    micro_batch_tokens: int = 4096
    freeze_vision: bool = False
    checkpointing: bool = True
    reference: bool = True
    keeps_weights: bool = False  # a layer's, from forward to backward

    def work(self, gpus: int) -> Workload:
        """Return what the process with most has to do.

        Raises:
            ValueError: a number is not above 0.
        """
        counts = {
            "--gpus": gpus,
            "--group-size": self.group_size,
            "--image-size": self.image_size,
            "--max-completion-tokens": self.completion_tokens,
            "--micro-batch-tokens": self.micro_batch_tokens,
            "--prompts-per-gpu": self.prompts_per_gpu,
            "--gpus-per-node": self.card.per_node,
        }
        for flag, count in counts.items():
            if count < 1:
                raise ValueError(f"{flag} must be at least 1: got {count}")
        side = 2 * max(1, round(self.image_size / 28))  # patches; 28 pixels are two
        whole = Workload(
            N=self.prompts_per_step or self.prompts_per_gpu * gpus,
            G=self.group_size,
            P=side**2 // 4 + self.question_tokens,
            C=self.completion_tokens,
            K=side**2,
            budget=self.micro_batch_tokens,
            frozen_vision=self.freeze_vision,
            checkpointing=self.checkpointing,
            reference=self.reference,
        )
        return whole.of_rank(gpus)


@dataclass(frozen=True)
class Simulation:
    """What was found for one number of GPUs."""

    settings: Settings
    gpus: int
    parameters: int
    work: Workload
    shards: Shards
    sent: Communication
    flops: StepFlops
    time: StepTime
    memory: MemoryEstimate  # of one GPU

    @property
    def prompts(self) -> int:
        """Of a step, on all GPUs; where they do not divide it, as many as the fullest one's."""
        return self.settings.prompts_per_step or self.work.N * self.gpus

    @property
    def decoding_copy(self) -> int:
        """Bytes of the whole working copy that each GPU decodes from."""
        return 2 * self.parameters

    @property
    def copy_fits(self) -> bool:
        """Whether a card can hold that copy at all."""
        return self.decoding_copy < self.settings.card.memory

    def summary(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        largest, smallest = self.shards.largest_and_smallest(self.gpus)
        return {
            "model": self.settings.model,
            "gpus": self.gpus,
            "parameters": self.parameters,
            "settings": asdict(self.settings),
            "work": asdict(self.work) | {"micro_batches": self.work.micro_batches},
            "shards": {"largest": largest, "smallest": smallest, "whole": self.shards.whole},
            "communication": asdict(self.sent)
            | {"completions": sampled_bytes(self.work, self.gpus)},
            "flops": asdict(self.flops),
            "seconds": asdict(self.time),
            "tokens_per_second": self.time.tokens_per_second,
            "dominating": self.time.dominating,
            "copy_fits": self.copy_fits,
            "memory": dict(self.memory.at_peak) | {"moment": self.memory.peak},
        }


def simulate(settings: Settings, gpus: int) -> Simulation:
    """Return what a model and settings come to on so many GPUs.

    Raises:
        ValueError: the settings cannot be.
    """
    work = settings.work(gpus)
    model = _model(settings.model)
    sizes = sizes_of(model.config)
    frozen = shards_of(model, frozen_vision=True)
    shards = frozen if settings.freeze_vision else shards_of(model)
    machine = Machine(settings.card, gpus, settings.shares)
    flops = step_flops(sizes, work)
    sent = step_communication(shards, frozen, work, gpus, keeps=settings.keeps_weights)
    return Simulation(
        settings=settings,
        gpus=gpus,
        parameters=sum(weight.numel() for weight in model.parameters()),
        work=work,
        shards=shards,
        sent=sent,
        flops=flops,
        time=step_time(flops, sent, sizes.text, shards, work, machine),
        memory=_memory(model, settings, work, gpus),
    )


def _memory(model: QwenVL, settings: Settings, work: Workload, gpus: int) -> MemoryEstimate:
    """Return what one GPU needs, by the estimator that train.py asks."""
    held = Held(
        dtype=torch.bfloat16,
        checkpointing=settings.checkpointing,
        freeze_vision=settings.freeze_vision,
        reference="device" if settings.reference else "none",
        on_cuda=True,
        tile_bytes=TILE_BYTES["cuda"],
        ranks=gpus,
        keeps_weights=settings.keeps_weights,
    )
    at_once = Work(
        prompts=work.N,
        group_size=work.G,
        prompt_tokens=work.P,
        completion_tokens=work.C,
        patches=work.K,
        budget=work.budget,
    )
    return estimate_memory(sizes_of_model(model), held, at_once)


@cache
def _model(name: str) -> QwenVL:
    return weightless(config_of(name))
