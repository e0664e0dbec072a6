"""Write the section "Which card for which model" of docs/scaling.md: what the estimate says.

    python scripts/make_scaling_table.py            write it
    python scripts/make_scaling_table.py --check    exit with 1 where the page says something else

Each cell is what one card needs at the peak of a step, in GB of 1e9 bytes, by models/memory/, from
published sizes without weights: seconds on a CPU. Nothing here was measured.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grpo.logprobs.api import TILE_BYTES  # noqa: E402
from grpo.settings.config import GRPOConfig  # noqa: E402
from grpo.settings.device_memory import fits  # noqa: E402
from grpo.settings.run_memory import work_of  # noqa: E402
from models.memory import (  # noqa: E402
    Held,
    adapter_sizes,
    estimate_memory,
    sizes_of_model,
    weightless,
)
from process.storage import write_text  # noqa: E402
from scripts.scale.published import config_of  # noqa: E402

PAGE = ROOT / "docs" / "scaling.md"
BEGINS, ENDS = "<!-- which card: begins -->", "<!-- which card: ends -->"
MODELS = {"2b": "Qwen2-VL-2B", "2.5-3b": "Qwen2.5-VL-3B", "7b": "Qwen2-VL-7B"}
CARDS = (24, 48, 80, 141)  # GB
PROCESSES = (1, 2, 8)
LORA_RANK = 16
MOST_PROMPTS = 8  # of a step: one per process at least

INTRODUCTION = """## Which card for which model

What one card needs at the peak of a step, in GB, with train.py's defaults: images of 384 x 384,
4 completions of 256 tokens per question, `--micro-batch-tokens 4096`, bfloat16, a KL to the start
model, 4 questions a step, on 8 cards 8, so that each has one. LoRA is `--lora-rank 16` on the
text, in CPU memory is `--offload-optimizer --reference-device cpu`. Written by `python
scripts/make_scaling_table.py` from the sum that every run makes before it loads
([memory.md](memory.md)); a card fits where 5 % of it are left.

A plain number: all fits, activations kept. With an r: activations are recomputed
(`--gradient-checkpointing`, which a run then picks by itself). In brackets: does not fit, this
much would be needed. Measured: none yet, no row has been run on a GPU."""


def section() -> str:
    """Return the section's text, without its markers."""
    head = ["model", "trained", "cards", *(f"{card} GB" for card in CARDS), "measured"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name in MODELS:
        lines += [f"| {' | '.join(row)} |" for row in rows_of(name)]
    return "\n".join([INTRODUCTION, "", *lines])


def rows_of(name: str) -> Iterator[list[str]]:
    """Yield a model's rows: what is trained, on how many cards, a cell per card, what was measured.

    Args:
        name: of a published size.
    """
    model = weightless(config_of(name))
    sizes, adapters = sizes_of_model(model), adapter_sizes(model, LORA_RANK, ("text",))
    plain = Held(dtype=torch.bfloat16, on_cuda=True, tile_bytes=TILE_BYTES["cuda"])
    ways = {
        "all of it": plain,
        "frozen vision": replace(plain, freeze_vision=True),
        "LoRA": replace(plain, adapters=adapters),
    }
    small = replace(plain, reference="cpu", offloads_optimizer=True)
    ways["all of it, optimizer and reference in CPU memory"] = small
    for way, held in ways.items():
        for count in PROCESSES[:1] if held is small else PROCESSES:
            config = GRPOConfig(prompts_per_step=MOST_PROMPTS if count == 8 else 4)
            work = work_of(config, ranks=count, prompt_tokens=None)
            kept, recomputed = (
                estimate_memory(sizes, replace(held, ranks=count, checkpointing=again), work)
                for again in (False, True)
            )
            cells = []
            for card in CARDS:
                if fits(kept, card * 1e9):
                    cells.append(f"{kept.total / 1e9:.0f}")
                elif fits(recomputed, card * 1e9):
                    cells.append(f"{recomputed.total / 1e9:.0f} r")
                else:
                    cells.append(f"({recomputed.total / 1e9:.0f})")
            yield [MODELS[name], way, str(count), *cells, "none yet"]


def with_section(page: str, text: str) -> str:
    """Return a page whose marked section is this text.

    Raises:
        ValueError: the page has no such markers.
    """
    if BEGINS not in page or ENDS not in page:
        raise ValueError(f"{PAGE} lacks the lines {BEGINS} and {ENDS}: put them where it is to go")
    before, _, rest = page.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n{text}\n{ENDS}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the section, or say whether it is as it would be written."""
    parser = argparse.ArgumentParser(description="the section 'Which card' of docs/scaling.md")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it differs")
    check = parser.parse_args(argv).check
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_section(page, section())
    if check:
        print("as it would be written" if page == wanted else f"{PAGE} is not as it would be")
        return int(page != wanted)
    write_text(PAGE, wanted)
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
