"""Rollouts, ours against HF generate as TRL calls it: every prompt and image repeated G times.

    python benchmarks/rollout.py                  writes benchmarks/results/rollout_cpu.json

32 questions of the phantoms, 8 completions of 24 tokens each, on the embedded checkpoint. Same
sampling parameters; special tokens are never sampled, so that all completions are equally long.
Both sides start from encoded prompts and end with texts. Before any time is taken, greedy
decoding must give the same tokens on both sides. Each side is a process of its own, see
benchmarks/elsewhere.py.
"""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from common import (
    ROOT,
    THREADS,
    arguments,
    interleaved,
    phantom_turns,
    without_special_tokens,
    write_checkpoint,
    write_result,
)
from elsewhere import Elsewhere
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForImageTextToText, GenerationConfig

from grpo.rollout import PromptBatch, sample_rollout
from grpo.sampling import generate_greedy
from grpo.settings.records import Sampling
from models import load_policy
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt

PROMPTS, GROUP, NEW_TOKENS, IMAGE_SIZE = 32, 8, 24, 84
GREEDY_PROMPTS = 8
BAR = 4.0


class Sizes(NamedTuple):
    """Of one rollout."""

    prompts: int
    group: int
    new_tokens: int


class HFGenerate:
    """transformers' own model and its generate, fed as TRL feeds them."""

    def __init__(self, checkpoint: Path, policy: Policy) -> None:
        model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=policy.dtype)
        self.model = model.to(policy.device)
        self.processor = policy.processor

    def config(self, new_tokens: int, **changes: Any) -> GenerationConfig:
        """Return TRL's: all of its fields, so that none comes from the checkpoint."""
        given = {
            "max_new_tokens": new_tokens,
            "do_sample": True,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": None,
            "repetition_penalty": 1.0,
            "pad_token_id": self.processor.pad_id,
            "eos_token_id": list(self.processor.end_ids),
            "suppress_tokens": list(self.processor.banned_ids),
            "cache_implementation": None,
        }
        return GenerationConfig(**(given | changes), disable_compile=True)

    def inputs(self, prompts: list[EncodedPrompt], group: int) -> dict[str, Tensor]:
        """Return the batch of all rows, prompts padded on the left, each image once per row."""
        rows = [prompt for prompt in prompts for _ in range(group)]
        longest = max(prompt.num_tokens for prompt in rows)

        def padded(values: Tensor, filler: int) -> Tensor:
            return pad(values, (longest - len(values), 0), value=filler)

        ids = torch.stack([padded(prompt.input_ids, self.processor.pad_id) for prompt in rows])
        masks = [padded(torch.ones_like(prompt.input_ids), 0) for prompt in rows]
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.stack(masks),
            "mm_token_type_ids": (ids == self.processor.image_token_id).long(),
            "pixel_values": torch.cat([prompt.pixel_values for prompt in rows]),
            "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in rows]),
        }
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}

    @torch.no_grad()
    def new_tokens(self, inputs: dict[str, Tensor], config: GenerationConfig) -> Tensor:
        """Return (rows, tokens) without the prompt."""
        ids = self.model.generate(**inputs, generation_config=config)
        return ids[:, inputs["input_ids"].shape[1] :]

    def texts(self, inputs: dict[str, Tensor], config: GenerationConfig) -> list[str]:
        """Return one text per row."""
        return self.processor.tokenizer.batch_decode(self.new_tokens(inputs, config))


def greedy_agree(peer: HFGenerate, policy: Policy, prompts: list[EncodedPrompt], C: int) -> bool:
    """Return whether both sides take the same tokens when each takes the likeliest."""
    greedy = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    theirs = peer.new_tokens(peer.inputs(prompts, 1), peer.config(C, **greedy))
    return torch.equal(theirs.cpu(), generate_greedy(policy, prompts, C).ids)


def rollouts_of_ours(checkpoint: Path, sizes: Sizes) -> Callable[[int], bool]:
    """Return a function that samples a rollout; it says whether all are of full length."""
    policy = _policy(checkpoint)
    prompts, places = _prompts(policy, sizes.prompts), tuple(range(sizes.prompts))
    sampling = Sampling(
        seed=0,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        logprob_distribution="full",
        max_completion_tokens=sizes.new_tokens,
        group_size=sizes.group,
    )

    def sample(step: int) -> bool:
        batch = PromptBatch(tuple(prompts), (None,) * sizes.prompts, places, step)
        return bool(sample_rollout(policy, batch, sampling).completion_mask.all())

    return sample


def _policy(checkpoint: Path) -> Policy:
    policy = load_policy(checkpoint)
    policy.processor = without_special_tokens(policy.processor)
    return policy


def _prompts(policy: Policy, count: int) -> list[EncodedPrompt]:
    _, turns = phantom_turns(count, IMAGE_SIZE)
    return [policy.processor.encode(turn.text, turn.images) for turn in turns]


def main() -> None:
    parser = arguments(__doc__, "rollout_cpu.json")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    sizes = Sizes(4, 2, 4) if given.smoke else Sizes(PROMPTS, GROUP, NEW_TOKENS)
    with TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint", image_size=IMAGE_SIZE)
        policy = _policy(checkpoint)
        peer = HFGenerate(checkpoint, policy)
        with Elsewhere(rollouts_of_ours, checkpoint, sizes) as ours:
            measure(given, sizes, policy, peer, ours)


def measure(
    given: Namespace, sizes: Sizes, policy: Policy, peer: HFGenerate, ours: Elsewhere
) -> None:
    """Prove the work equal, time both sides, print, write the result, and end with its status."""
    num_prompts, group, new_tokens = sizes
    prompts = _prompts(policy, num_prompts)

    def theirs() -> list[str]:
        return peer.texts(peer.inputs(prompts, group), peer.config(new_tokens))

    same = greedy_agree(peer, policy, prompts[:GREEDY_PROMPTS], new_tokens)
    equal_lengths = ours()
    if not (same and equal_lengths):
        sys.exit(f"not the same work: greedy tokens equal {same}, equal lengths {equal_lengths}")
    repeats = 3 if given.smoke else given.repeats
    seconds = interleaved({"hf_generate": theirs, "ours": ours}, repeats)
    ratio = round(seconds["hf_generate"]["median"] / seconds["ours"]["median"], 2)
    tokens = num_prompts * group * new_tokens
    for name, found in seconds.items():
        print(f"{name:<12} {found['median']:.3f} s ({found['min']:.3f} .. {found['max']:.3f}),"
              f" {tokens / found['median']:,.0f} tokens a second")  # fmt: skip
    missed = [f"{ratio} times, wanted {BAR}"] if ratio < BAR and not given.smoke else []
    print(f"ours is {ratio} times faster" + "".join(f"; MISSED: {text}" for text in missed))
    lengths = {"prompt_tokens": [prompt.num_tokens for prompt in prompts]}
    hf_settings = peer.config(new_tokens).to_diff_dict()
    content = {
        **sizes._asdict(),
        **lengths,
        "hf_settings": hf_settings,
        "greedy_tokens_equal": same,
    }
    command = f"python {Path(__file__).relative_to(ROOT)}"
    write_result(given.output, command, {**content, **seconds, "ratio": ratio, "missed": missed})
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
