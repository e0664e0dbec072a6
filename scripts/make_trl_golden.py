"""Write tests/golden/trl.json: what TRL's own GRPO code makes of a small fixed batch.

    python -m venv trl && trl/bin/pip install torch==2.13.0 trl==1.16.0
    trl/bin/python scripts/make_trl_golden.py

TRL's trainers run from the sampled completions to the loss: masks, rewards and their weights,
advantages, which log-probs are the old ones, loss, metrics. Only the model is replaced, by planted
completions and planted log-probs; and where the sampler is to be another program, so is vLLM, by
planted log-probs of its own. Nothing of this project is imported.

Shapes: N prompts, G completions each, B = N * G rows (prompt-major), C completion tokens.
"""

import argparse
import itertools
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl.rewards import get_soft_overlong_punishment

N, G, C = 3, 3, 5
PAD, END, TOKEN = 0, 1, 2
MAX_COMPLETION_TOKENS = 8
REWARD_WEIGHTS = [1.0, 0.5]
# prompt 0: rewards differ; prompt 1: they agree, no spread; prompt 2: differ by less
REWARDS = [
    [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.3, 0.1],
    [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0],
]
LENGTHS = [5, 3, 1, 4, 2, 5, 5, 1, 3]
TRUNCATED = [0, 3]  # rows that do not end with the end token
LOSS_TYPES = {"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}  # ours: TRL's
SCALES = ("group", "batch", "none")


class Planted:
    """A trainer's model with its two answers, completions and log-probs, given beforehand."""

    ref_model: Any  # the trainer's

    def plant(self, planted: dict[str, torch.Tensor]) -> None:
        self.planted = planted

    def _get_per_token_logps_and_entropies(self, model, *_, **__):
        if torch.is_grad_enabled():
            logprobs = self.planted["logprobs"]
        else:
            is_reference = model is self.ref_model
            logprobs = self.planted["ref_logprobs" if is_reference else "old_logprobs"]
        return logprobs, self.planted["entropies"], None


class PlantedTrainer(Planted, trl.GRPOTrainer):
    """TRL's GRPO; a sampler that is not the policy is asked for by ``use_vllm``, set afterwards."""

    def _generate_single_turn(self, *_, **__):
        sampled = self.planted["sampled_logprobs"].tolist() if self.use_vllm else None
        if sampled is not None:
            sampled = [row[:length] for row, length in zip(sampled, LENGTHS, strict=True)]
        return completions(), sampled


class PlantedRLOO(Planted, trl.RLOOTrainer):
    """TRL's RLOO, whose ratio is that of a completion's whole probability."""

    def _generate_single_turn(self, *_, **__):
        return completions()


def completions() -> list[list[int]]:
    rows = [[TOKEN] * length for length in LENGTHS]
    for row, ids in enumerate(rows):
        if row not in TRUNCATED:
            ids[-1] = END
    return rows


# A variant of the objective: our settings of it, and TRL's. Each is tried with the groups' own
# spread, with and without a KL, on the second pass, whose ratios are not 1.
VARIANTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"ratio_level": "sequence", "epsilon_high": 0.28}, {"importance_sampling_level": "sequence"}),
    (
        {"ratio_level": "sequence", "loss_normalization": "token"},
        {"importance_sampling_level": "sequence"},
    ),
    ({"ratio_cap": 1.25}, {"delta": 1.25}),
    (
        {"surrogate": "cispo", "epsilon_high": 1.1, "loss_normalization": "token"},
        {"loss_type": "cispo"},
    ),
    ({"surrogate": "sapo"}, {"loss_type": "sapo"}),
    ({"kl_estimator": "k3_corrected"}, {"use_bias_correction_kl": True}),
    (
        {"kl_estimator": "k3_corrected", "ratio_level": "sequence"},
        {"use_bias_correction_kl": True, "importance_sampling_level": "sequence"},
    ),
    (
        {"reward_aggregation": "normalize_then_sum"},
        {"multi_objective_aggregation": "normalize_then_sum"},
    ),
    ({"top_entropy_share": 0.4}, {"top_entropy_quantile": 0.4}),
    ({"entropy_bonus": 0.3}, {"entropy_coef": 0.3}),
    (
        {"entropy_bonus": -0.2, "top_entropy_share": 0.4, "loss_normalization": "token"},
        {"entropy_coef": -0.2, "top_entropy_quantile": 0.4},
    ),
    (
        {"top_entropy_share": 0.4, "mask_truncated": True},
        {"top_entropy_quantile": 0.4},
    ),
    (
        {"sampler_correction_cap": 1.2},
        {
            "vllm_importance_sampling_mode": "token_truncate",
            "vllm_importance_sampling_clip_max": 1.2,
        },
    ),
    ({"soft_overlong_tokens": 6}, {}),
    (
        {"soft_overlong_tokens": 6, "reward_aggregation": "normalize_then_sum"},
        {"multi_objective_aggregation": "normalize_then_sum"},
    ),
    # on the first pass: afterwards it clips the ratio of a completion's whole probability
    (
        {
            "advantage_scale": "none",
            "advantage_baseline": "leave_one_out",
            "loss_normalization": "constant",
            "num_iterations": 1,
        },
        {"normalize_advantages": False},
    ),
]


def run_case(case: dict, planted: dict[str, torch.Tensor]) -> dict:
    """Return TRL's advantages (B,), loss, gradients (B, C) and metrics under one setting.

    The gradients are those of the log-probs and, where they are in the loss, of the entropies:
    both are planted as leaves, as if they came from one forward of the model.
    """
    prompts = [{"prompt": word} for word in "abc" for _ in range(G)]
    trainer = trainer_of(case, prompts)
    logprobs = planted["logprobs"].clone().requires_grad_()
    entropies = planted["entropies"].clone().requires_grad_()
    planted = {**planted, "logprobs": logprobs, "entropies": entropies}
    if isinstance(trainer, PlantedRLOO):  # it measures the old ones on the first pass, too
        planted["old_logprobs"] = logprobs.detach()
    trainer.plant(planted)
    trainer.current_gradient_accumulation_steps = 1  # set by Trainer's loop, which does not run
    trainer.model.train()
    inputs = trainer._generate_and_score_completions(prompts)
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    metrics = trainer._metrics["train"]
    return {
        "mask": inputs["completion_mask"].tolist(),
        "advantages": rounded(inputs["advantages"]),
        "loss": rounded(loss),
        "gradient": rounded(logprobs.grad),
        **({"entropy_gradient": rounded(entropies.grad)} if entropies.grad is not None else {}),
        "clip_fraction": metrics.get("clip_ratio/region_mean", [None])[0],
        "kl": metrics["kl"][0] if case["beta"] else None,
    }


def trainer_of(case: dict, prompts: list[dict[str, str]]) -> PlantedTrainer | PlantedRLOO:
    """Return TRL's trainer with the settings of a case."""
    other, weights = dict(case.get("trl", {})), [*REWARD_WEIGHTS]
    functions = [lambda scores=scores, **_: scores for scores in REWARDS]
    if tokens := case.get("soft_overlong_tokens"):  # a reward function there
        functions.append(get_soft_overlong_punishment(MAX_COMPLETION_TOKENS, tokens))
        weights.append(1.0)
    with tempfile.TemporaryDirectory() as folder:
        tiny_model().save_pretrained(folder)  # TRL loads policy and reference from a directory
        settings = {
            "output_dir": folder,
            "per_device_train_batch_size": N * G,
            "num_generations": G,
            "gradient_accumulation_steps": 1,
            "max_completion_length": MAX_COMPLETION_TOKENS,
            "reward_weights": weights,
            "beta": case["beta"],
            "epsilon": case["epsilon_low"],
            "epsilon_high": case["epsilon_high"],
            "num_iterations": case["num_iterations"],
            "mask_truncated_completions": case["mask_truncated"],
            "bf16": False,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
        }
        if is_rloo := case.get("advantage_baseline") == "leave_one_out":
            arguments = trl.RLOOConfig(**settings, **other)
        else:
            settings["loss_type"] = case["trl_loss_type"]
            settings["scale_rewards"] = case["advantage_scale"]
            # TRL 1.16's default multiplies the KL by the ratio, as DeepSeek-V3.2 does;
            # DeepSeekMath, Med-R1 and this project do not
            settings["use_bias_correction_kl"] = False
            arguments = trl.GRPOConfig(**{**settings, **other})
        trainer = (PlantedRLOO if is_rloo else PlantedTrainer)(
            model=folder,
            reward_funcs=functions,
            args=arguments,
            train_dataset=Dataset.from_list(prompts),
            processing_class=tiny_tokenizer(),
        )
    trainer.use_vllm = "sampler_correction_cap" in case  # without the program itself
    return trainer


def tiny_model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=PAD,
        eos_token_id=END,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": PAD, "<end>": END, "x": TOKEN, "a": 3, "b": 4, "c": 5}
    backend = Tokenizer(WordLevel(words, unk_token="x"))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", unk_token="x"
    )


def planted_logprobs(seed: int) -> dict[str, torch.Tensor]:
    """Return (B, C) log-probs of policy, old policy, reference and sampler, and entropies."""
    generator = random.Random(seed)
    # three digits, so that a reader can redo a token by hand
    logprobs = [[round(-3 * generator.random(), 3) for _ in range(C)] for _ in range(N * G)]

    def moved():
        return [[round(value + generator.gauss(0, 0.4), 3) for value in row] for row in logprobs]

    rows = {"logprobs": logprobs, "old_logprobs": moved(), "ref_logprobs": moved()}
    rows["entropies"] = [[round(2 * generator.random(), 3) for _ in range(C)] for _ in range(N * G)]
    rows["sampled_logprobs"] = [
        [round(value + generator.gauss(0, 0.2), 3) for value in row] for row in rows["old_logprobs"]
    ]
    return {name: torch.tensor(values) for name, values in rows.items()}


def all_cases() -> list[dict[str, Any]]:
    """Return the full product, then TRL's older name of "token", then truncated rows left out."""
    product = itertools.product(LOSS_TYPES, SCALES, (0.0, 0.04), (0.2, 0.28), (1, 2), (False,))
    extra = [(name, "group", 0.04, 0.28, 2, True) for name in LOSS_TYPES]
    names = ("loss_normalization", "advantage_scale", "beta", "epsilon_high", "num_iterations",
             "mask_truncated")  # fmt: skip
    varied = [dict[str, Any](zip(names, values, strict=True)) for values in (*product, *extra)]
    cases = [
        {"trl_loss_type": LOSS_TYPES[case["loss_normalization"]], "epsilon_low": 0.2, **case}
        for case in varied
    ]
    older = next(case for case in cases if case["loss_normalization"] == "token" and case["beta"])
    return [*cases, {**older, "trl_loss_type": "bnpo"}, *variant_cases()]


def variant_cases() -> list[dict[str, Any]]:
    """Return every variant with and without a KL, where it is not about the KL alone."""
    usual = {
        "loss_normalization": "sequence",
        "advantage_scale": "group",
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "num_iterations": 2,
        "mask_truncated": False,
    }
    cases = []
    for ours, trls in VARIANTS:
        betas: tuple[float, ...] = (0.04,) if "kl_estimator" in ours else (0.0, 0.04)
        if "advantage_baseline" in ours:
            betas = (0.0,)  # its KL is in the reward
        for beta in betas:
            case = {**usual, "beta": beta, **ours, "variant": ours, "trl": trls}
            cases.append({"trl_loss_type": LOSS_TYPES[case["loss_normalization"]], **case})
    return cases


def rounded(tensor: torch.Tensor | None, digits: int = 9):
    """Return nested lists of numbers; nine digits tell any two float32 apart."""

    def shorten(value):
        is_list = isinstance(value, list)
        return [shorten(item) for item in value] if is_list else float(f"{value:.{digits}g}")

    return None if tensor is None else shorten(tensor.detach().tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "tests" / "golden" / "trl.json"
    parser.add_argument("--output", type=Path, default=default)
    output = parser.parse_args().output
    planted = planted_logprobs(seed=0)
    inputs = {name: rounded(tensor, digits=6) for name, tensor in planted.items()}
    golden = {
        "versions": {module.__name__: module.__version__ for module in (trl, transformers, torch)},
        "group_size": G,
        "max_completion_tokens": MAX_COMPLETION_TOKENS,
        "lengths": LENGTHS,
        "rewards": REWARDS,
        "reward_weights": REWARD_WEIGHTS,
        **inputs,
    }
    cases = [{**case, **run_case(case, planted)} for case in all_cases()]
    lines = ",\n".join(json.dumps(case) for case in cases)  # one case a line: diffs stay readable
    head = json.dumps(golden)[:-1]
    output.write_text(f'{head}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(cases)} cases, {output.stat().st_size:,} bytes: {output}")


if __name__ == "__main__":
    main()
