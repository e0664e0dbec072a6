"""What the benchmarks share: checkpoints, questions, timing in turns, memory, the result file.

Importing it puts the project's root on the path, so import it before anything of the project.
"""

import argparse
import gc
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.default_run import cpu  # noqa: E402
from data.examples import VQAExample  # noqa: E402
from data.prompts import prompt_template  # noqa: E402
from data.sources import load_split  # noqa: E402
from data.turns import TurnBuilder, UserTurn  # noqa: E402
from grpo.run.provenance import machine  # noqa: E402
from models.policy import Policy  # noqa: E402
from models.prompts.processor import Processor  # noqa: E402

THREADS = 2
TINY = ROOT / "models" / "tiny"
FILLER = ("Look", "at", "the", "image", "and", "say", "what", "is", "seen", "in", "it", "there")


# Checkpoints and what is asked of them


def write_checkpoint(
    directory: Path,
    *,
    image_size: int,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Path:
    """Write and return the embedded checkpoint for images of another size, or a larger random one.

    Args:
        directory: made here.
        image_size: the processor leaves images of this many pixels a side as they are.
        text: changes to the text config. Given any, the weights are random (seed 0) and the
            tokenizer gets a token for every id up to the vocabulary's size.
        vision: changes to the vision config, beside those to the text's.
        dtype: of random weights.
        device: where random weights are made.
    """
    shutil.copytree(TINY, directory)
    _edit(directory / "preprocessor_config.json", min_pixels=784, max_pixels=image_size**2)
    if text is None:
        return directory
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = json.loads((directory / "config.json").read_text())
    config["text_config"] |= text
    config["text_config"].pop("layer_types")  # one per layer, worked out from their number
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"]
    config["vision_config"] |= vision or {}
    config["vision_config"]["hidden_size"] = config["text_config"]["hidden_size"]
    (directory / "config.json").write_text(json.dumps(config))
    _fill_vocabulary(directory / "tokenizer.json", config["text_config"]["vocab_size"])
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            AutoConfig.from_pretrained(directory), dtype=dtype
        )
    generation = (directory / "generation_config.json").read_bytes()
    model.to(dtype).save_pretrained(directory)
    (directory / "generation_config.json").write_bytes(generation)
    return directory


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _fill_vocabulary(file: Path, size: int) -> None:
    """Give every id a token, so that none has to be banned for want of one."""
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    # special tokens too: one that the model's vocabulary lacks would get the next free id
    vocabulary |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    used = set(vocabulary.values())
    vocabulary |= {f"filler{index}": index for index in range(size) if index not in used}
    file.write_text(json.dumps(tokenizer))


def without_special_tokens(processor: Processor) -> Processor:
    """Return the processor with every control token banned: no completion ends early."""
    banned = processor.tokenizer.convert_tokens_to_ids(list(processor.control_tokens))
    return replace(processor, banned_ids=tuple(sorted({*processor.banned_ids, *banned})))


@torch.no_grad()
def perturb(model: nn.Module, scale: float = 0.1) -> None:
    """Move every parameter by noise that depends on its name only, so that the KL is not zero."""
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(crc32(name.encode()))
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.add_(noise * parameter.abs().mean() * scale)


def phantom_turns(count: int, image_size: int) -> tuple[list[VQAExample], list[UserTurn]]:
    """Return the first training questions with their images drawn."""
    examples = load_split(("phantoms",), part="train", image_root=None).examples
    examples = [examples[index % len(examples)] for index in range(count)]
    turns = TurnBuilder(prompt_template("think"), image_size)
    return examples, [turns(example) for example in examples]


def lengthened(turn: UserTurn, processor: Processor, num_tokens: int) -> UserTurn:
    """Return the turn with words put before its question until the prompt has `num_tokens`.

    Raises:
        ValueError: it has more already, or no word fits the last gap.
    """

    def with_words(words: list[str]) -> str:
        return " ".join([*words, turn.text])

    count = len(processor.encode_completion(turn.text))
    wanted = num_tokens - processor.encode(turn.text, turn.images).num_tokens + count
    words: list[str] = []
    while count < wanted:
        start = len(words) % len(FILLER)
        for word in FILLER[start:] + FILLER[:start]:
            longer = len(processor.encode_completion(with_words([*words, word])))
            if longer <= wanted:
                break
        words.append(word)
        count = longer
    found = replace(turn, text=with_words(words))
    if (length := processor.encode(found.text, found.images).num_tokens) != num_tokens:
        raise ValueError(f"a prompt of {length} tokens cannot become one of {num_tokens}")
    return found


# Timing and reporting


def interleaved(
    runs: dict[str, Callable[[], Any]],
    repeats: int,
    warmup: int = 1,
    device: torch.device | None = None,
    digits: int = 4,
) -> dict[str, dict[str, Any]]:
    """Return the seconds of each run, taken in turns so that a slow minute of the machine hits all.

    What a run returns is dropped before the next one starts. On a CUDA device each run begins and
    ends with a wait for it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(warmup + repeats):
        for name, run in runs.items():
            elapsed = seconds_of(run, device)
            if repeat >= warmup:
                seconds[name].append(elapsed)
            getattr(run, "settle", gc.collect)()  # before another one's time begins
    return {name: spread(values, digits) for name, values in seconds.items()}


def seconds_of(run: Callable[[], Any], device: torch.device | None = None) -> float:
    """Return how long one run takes, from an idle device to an idle device."""
    gc.collect()
    wait_for(device)
    started = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device | None) -> None:
    """Wait until a CUDA device has done what it was given; a CPU already has."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(seconds: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Return median, least and most of some measurements, rounded (to a tenth of a millisecond)."""
    rounded = [round(value, digits) for value in seconds]
    middle = round(statistics.median(seconds), digits)
    return {"median": middle, "min": min(rounded), "max": max(rounded), "repeats": len(rounded)}


def arguments(doc: str, output: str) -> argparse.ArgumentParser:
    """Return the flags every benchmark has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    default = ROOT / "benchmarks" / "results" / output
    parser.add_argument("--output", type=Path, default=default, help="result file")
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each side")
    parser.add_argument("--smoke", action="store_true", help="small sizes: does the script work?")
    return parser


def write_result(file: Path, command: str, content: dict[str, Any]) -> None:
    """Write the measurements with the machine they were taken on."""
    conditions = {"command": command, **machine(), "cpu": cpu(), "dtype": "float32"}
    text = json.dumps({**conditions, **content}, indent=2)
    # lists of numbers on one line each
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def device_slug(device: torch.device) -> str:
    """Return what a result file of this device is called after: cpu, or the GPU's name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def peak_mebibytes() -> float:
    """Return the most memory this process has held."""
    return _held("VmHWM")


def held_mebibytes() -> float:
    """Return the memory this process holds now."""
    return _held("VmRSS")


class PeakMemory:
    """The most memory used beyond what was in use when this was made: host's or CUDA's own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device) / 2**20
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            self._before = held_mebibytes()

    def mebibytes(self) -> float:
        """Return it, up to now."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device) / 2**20
        else:
            peak = _held("VmHWM")
        return peak - self._before


def _held(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


def in_a_process(script: str, *flags: str) -> Any:
    """Run a benchmark again in a process of its own and return the JSON of its last line.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    done = subprocess.run([sys.executable, script, *flags], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} {' '.join(flags)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def gradients(policy: Policy | nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of every gradient there is, by the parameter's name."""
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
