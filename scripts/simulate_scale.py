"""Print what training a published model on so many GPUs would hold, send and take; no GPU needed.

    python scripts/simulate_scale.py --model 7b --gpus 64
    python scripts/simulate_scale.py --model 72b --gpus 8 64 1024 --card h200 --json FILE

The model is built on meta tensors: real shapes, no memory, nothing downloaded. Shards, collectives
and operations are counted and tests hold them against what torch does; memory is the estimator's;
seconds follow from a card's data sheet and the shares of it that --compute-share and its like
assume, and no GPU has confirmed them. docs/scaling.md has the formulas.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone, from any folder

from process.tables.markdown import markdown_table  # noqa: E402
from process.tables.text import titled_text  # noqa: E402
from scripts.scale import tables  # noqa: E402
from scripts.scale.cards import CARDS, Shares  # noqa: E402
from scripts.scale.published import NAMES  # noqa: E402
from scripts.scale.simulation import Settings, Simulation, simulate  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Print the simulation; return the exit status."""
    given = parser().parse_args(argv)
    try:
        settings = settings_of(given)
        results = [simulate(settings, gpus) for gpus in given.gpus]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.markdown:
        print(markdown_table(tables.overview(results)))
    else:
        print("\n\n".join(text_of(results)))
    if given.json:
        content = [result.summary() for result in results]
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def text_of(results: list[Simulation]) -> list[str]:
    """Return the tables: all of a single number of GPUs, one line for each of several."""
    first = results[0]
    if len(results) > 1:
        return [titled_text(tables.model(first)), titled_text(tables.overview(results))]
    shown = (tables.model, tables.shards, tables.memory, tables.communication, tables.seconds)
    return [titled_text(table(first)) for table in shown]


def settings_of(given: argparse.Namespace) -> Settings:
    """Return the settings that the flags ask for."""
    card = CARDS[given.card].with_(per_node=given.gpus_per_node)
    if given.network is not None:
        card = card.with_(network=given.network * 1e9)
    shares = {name: getattr(given, f"{name}_share") for name in ("compute", "bandwidth", "network")}
    return Settings(
        model=given.model,
        card=card,
        shares=Shares(**shares, hop_seconds=given.hop_microseconds * 1e-6),
        prompts_per_step=given.prompts_per_step,
        prompts_per_gpu=given.prompts_per_gpu,
        group_size=given.group_size,
        image_size=given.image_size,
        question_tokens=given.question_tokens,
        completion_tokens=given.max_completion_tokens,
        micro_batch_tokens=given.micro_batch_tokens,
        freeze_vision=given.freeze_vision,
        checkpointing=given.gradient_checkpointing,
        reference=given.beta > 0,
        keeps_weights=not given.reshard_after_forward,
    )


def parser() -> argparse.ArgumentParser:
    """Return the flags; those that train.py has are called as there."""
    assumed = asdict(Shares())
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--model", choices=NAMES, default="7b", help="published sizes")
    flags.add_argument("--gpus", type=int, nargs="+", default=[8], help="one number, or several")
    flags.add_argument("--card", choices=CARDS, default="h100", help="what each of them is")
    flags.add_argument("--gpus-per-node", type=int, default=8)
    flags.add_argument("--network", type=float, metavar="GB/S", help="out of a node, per GPU")
    for name in ("compute", "bandwidth", "network"):
        flags.add_argument(
            f"--{name}-share", type=float, default=assumed[name], help="of the peak, assumed"
        )
    flags.add_argument("--hop-microseconds", type=float, default=assumed["hop_seconds"] * 1e6)
    flags.add_argument("--prompts-per-step", type=int, default=0, help="of all GPUs together")
    flags.add_argument("--prompts-per-gpu", type=int, default=4, help="where that is not given")
    flags.add_argument("--group-size", type=int, default=8)
    flags.add_argument("--image-size", type=int, default=384)
    flags.add_argument("--question-tokens", type=int, default=128, help="beside the image's")
    flags.add_argument("--max-completion-tokens", type=int, default=256)
    flags.add_argument("--micro-batch-tokens", type=int, default=4096)
    flags.add_argument("--beta", type=float, default=0.04, help="0: no reference")
    flags.add_argument("--freeze-vision", action="store_true")
    flags.add_argument(
        "--gradient-checkpointing", action=argparse.BooleanOptionalAction, default=True
    )
    flags.add_argument(
        "--reshard-after-forward", action=argparse.BooleanOptionalAction, default=True
    )
    flags.add_argument("--markdown", action="store_true", help="the overview, for a page")
    flags.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return flags


if __name__ == "__main__":
    sys.exit(main())
