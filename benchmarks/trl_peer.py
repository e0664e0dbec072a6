"""TRL's GRPOTrainer on one of our checkpoints, timed step by step from inside its own loop."""

import gc
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from common import perturb, wait_for
from datasets import Dataset
from torch import Tensor
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from trl import GRPOConfig, GRPOTrainer

from data.turns import UserTurn
from rewards.bound import BoundReward

BANNED_LOGIT = -1e9  # not -inf: TRL multiplies logits by probabilities for its entropy


class ImageProcessor(Qwen2VLProcessor):
    """transformers' processor without its video half, which needs torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        super(Qwen2VLProcessor, self).__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @classmethod
    def of(cls, checkpoint: Path) -> "ImageProcessor":
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
        images = Qwen2VLImageProcessorPil.from_pretrained(checkpoint)
        return cls(images, tokenizer, chat_template=tokenizer.chat_template)


def gpu_settings(case: Any, banned_ids: Sequence[int], rows: int, on_cuda: bool) -> dict[str, Any]:
    """Return what TRL is told in bfloat16: one rollout, then updates of `rows` rows added up.

    All rows at once do not fit beside their copies of prompts and images. Pure bfloat16 weights and
    moments are less work than our float32 masters.
    """
    parts = case.prompts * case.group // rows
    return settings(case, banned_ids) | {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": parts,
        "steps_per_generation": parts,
        "model_init_kwargs": {"dtype": "bfloat16"},
        "bf16": True,
        "use_cpu": not on_cuda,
    }


def settings(case: Any, banned_ids: Sequence[int]) -> dict[str, Any]:
    """Return what TRL is told, as it stands in the result file."""
    return {
        "per_device_train_batch_size": case.prompts * case.group,
        "num_generations": case.group,
        "gradient_accumulation_steps": 1,
        "num_iterations": 1,
        "max_completion_length": case.new_tokens,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "generation_kwargs": {"suppress_tokens": list(banned_ids)},
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": case.beta,
        "use_bias_correction_kl": False,
        "learning_rate": case.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": False,
        "use_vllm": False,
        "bf16": False,
        "use_cpu": True,
        "shuffle_dataset": False,
        "log_completions": False,
        "logging_strategy": "no",
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }


class Peer(GRPOTrainer):
    """TRL's trainer, with a stop watch on its generation and room for planted completions."""

    planted: list[list[int]] | None = None
    generation_seconds = 0.0

    @classmethod
    def of(
        cls,
        checkpoint: Path,
        turns: Sequence[UserTurn],
        reward_fns: dict[str, Callable],
        given: dict[str, Any],
    ) -> "Peer":
        """Return a trainer whose policy is the checkpoint, perturbed; its reference is not."""
        rows = [
            {"prompt": [{"role": "user", "content": turn.text}], "image": turn.images[0]}
            for turn in turns
        ]
        transformers.logging.disable_progress_bar()
        warnings.filterwarnings("ignore", category=FutureWarning)
        trainer = cls(
            model=str(checkpoint),
            reward_funcs=[_as_trl_reward(name, fn) for name, fn in reward_fns.items()],
            args=GRPOConfig(output_dir=str(checkpoint / "trl"), **given),
            train_dataset=Dataset.from_list(rows),
            processing_class=ImageProcessor.of(checkpoint),
        )
        perturb(trainer.model)
        dtype = torch.bfloat16 if given["bf16"] else torch.float32
        for model in (trainer.model, trainer.ref_model):
            assert {p.dtype for p in model.parameters()} == {dtype}
        return trainer

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        if self.planted is not None:
            return self.planted, None
        started = time.perf_counter()
        generated = super()._generate_single_turn(*args, **kwargs)
        self.generation_seconds = time.perf_counter() - started
        return generated

    def loss_on(
        self, completion_ids: Tensor, group: int, banned_ids: Sequence[int]
    ) -> dict[str, Any]:
        """Return loss, gradient norm and advantages of TRL's own code on the given completions.

        Its log-probs leave out the banned ids for this once, through a bias of the output layer:
        TRL bans them when it samples but not when it scores.
        """
        rows = [dict(self.train_dataset[index // group]) for index in range(len(completion_ids))]
        for model in (self.model, self.ref_model):
            bias = torch.zeros(model.lm_head.weight.shape[0], device=model.device)
            bias[list(banned_ids)] = BANNED_LOGIT
            model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
        self.planted = completion_ids.tolist()
        self.current_gradient_accumulation_steps = 1  # set by the loop, which does not run here
        self.model.train()
        inputs = self._generate_and_score_completions(rows)
        loss = self.compute_loss(self.model, inputs)
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters()
                                              if p.grad is not None])  # fmt: skip
        self.model.zero_grad()
        self.planted = None
        for model in (self.model, self.ref_model):
            model.lm_head.bias = None
        found = {"loss": loss.item(), "grad_norm": norm.item()}
        return found | {
            "advantages": inputs["advantages"].cpu(),
            "prompt_tokens": inputs["prompt_mask"].sum(dim=1)[::group].tolist(),
        }

    def steps(self, count: int, between: Callable[[int], Any]) -> list[dict[str, float]]:
        """Train for `count` steps and return each one's seconds.

        A step is what lies between TRL's own step-begin and step-end events: generation, rewards,
        reference, loss, backward, clipping, AdamW. `between` runs after each, outside of the time.
        """
        times: list[dict[str, float]] = []
        trainer = self

        class Watch(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                gc.collect()
                wait_for(trainer.model.device)
                self.started = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                wait_for(trainer.model.device)
                step = time.perf_counter() - self.started
                times.append({"step": step, "generation": trainer.generation_seconds})
                gc.collect()
                between(len(times) - 1)

        self.add_callback(Watch())
        self.remove_callback(PrinterCallback)  # prints a summary at the end
        self.args.max_steps = count
        self.train()
        return times


def _as_trl_reward(name: str, fn: BoundReward) -> Callable[..., list[float]]:
    def reward(completions: list[list[dict[str, str]]], **_: Any) -> list[float]:
        return fn(
            [completion[0]["content"] for completion in completions], [None] * len(completions)
        )

    reward.__name__ = name
    return reward
