"""What benchmarks/step.py runs: sizes, bars, checkpoints, questions and rewards of each row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from common import lengthened, phantom_turns, write_checkpoint

from data.turns import UserTurn
from models.prompts.processor import Processor
from rewards.bound import each


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    prompts: int
    group: int
    new_tokens: int
    image_size: int
    prompt_tokens: int = 0  # 0: the phantoms' own prompts
    text: dict[str, Any] | None = None  # text config of a random checkpoint; None: the embedded one
    vision: dict[str, Any] | None = None  # vision config of a random checkpoint, where it differs
    bar: float = 0.0  # times faster than TRL, at least; 0: no bar
    memory_bar: float = 0.0  # share of TRL's peak memory, at most; 0: not measured
    beta: float = 0.04
    learning_rate: float = 1e-6


EMBEDDED = Case(
    "embedded, prompts of 247",
    prompts=4,
    group=8,
    new_tokens=24,
    image_size=112,
    prompt_tokens=247,
    bar=5.0,
)
OWN_PROMPTS = replace(EMBEDDED, name="embedded, own prompts", prompt_tokens=0, bar=0.0)
LARGE = Case(
    "hidden 256, vocabulary 151,936",
    prompts=2,
    group=8,
    new_tokens=32,
    image_size=384,
    text={
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "intermediate_size": 1024,
        "vocab_size": 151_936,
        "rope_parameters": {
            "mrope_section": [8, 12, 12],
            "rope_theta": 1e4,
            "rope_type": "default",
        },
    },
    bar=8.0,
    memory_bar=1 / 3,
)
CASES = {"embedded": [EMBEDDED, OWN_PROMPTS], "large": [LARGE]}

_SMALL: dict[str, Any] = {"prompts": 2, "group": 2, "new_tokens": 4, "bar": 0.0}
_SMALL_TEXT = {**LARGE.text, "num_hidden_layers": 2, "vocab_size": 2_000}
SMOKE = [
    replace(EMBEDDED, name="smoke, embedded", **_SMALL),
    replace(
        LARGE, name="smoke, random", image_size=112, text=_SMALL_TEXT, memory_bar=9.0, **_SMALL
    ),
]


def make_checkpoint(
    case: Case, folder: Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Path:
    """Return the case's checkpoint, written into the folder."""
    sizes = {"image_size": case.image_size, "text": case.text, "vision": case.vision}
    return write_checkpoint(folder / "checkpoint", **sizes, dtype=dtype, device=device)


def make_turns(case: Case, checkpoint: Path, steps: int) -> list[UserTurn]:
    """Return the questions of that many steps, each step's its own."""
    _, turns = phantom_turns(steps * case.prompts, case.image_size)
    if not case.prompt_tokens:
        return turns
    processor = Processor.load(checkpoint)
    return [lengthened(turn, processor, case.prompt_tokens) for turn in turns]


def distinct_letters(text: str, _example: Any) -> float:
    """A cheap reward that differs from row to row; whole numbers, since TRL adds in float32."""
    return float(len(set(text)))


def vowels(text: str, _example: Any) -> float:
    """Another one."""
    return float(sum(text.count(vowel) for vowel in "aeiou"))


REWARDS = {"distinct_letters": each(distinct_letters), "vowels": each(vowels)}
