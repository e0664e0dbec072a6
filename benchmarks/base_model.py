"""What the embedded base model sees, binds and answers, before GRPO: on all held-out phantoms.

    python benchmarks/base_model.py             writes benchmarks/results/base_model_cpu.json

Nothing in it is timed, so that other work beside it changes no figure.
"""

import argparse
import json
from pathlib import Path

from common import ROOT, TINY

from data.phantoms import phantom_examples
from grpo.run.provenance import machine
from scripts.build_tiny_model import draw_pool
from scripts.tiny.checkpoint import load_checkpoint
from scripts.tiny.measure import measured, shown
from scripts.tiny.sequences import Scribe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one question of each cell, no file")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "base_model_cpu.json"
    )
    given = parser.parse_args()
    tokenizer, model = load_checkpoint(TINY)
    rows, samples = (1, 2) if given.smoke else (None, 8)
    examples = phantom_examples("heldout", rows_per_cell=rows)
    pixels = draw_pool("heldout", rows)[0]
    figures = measured(model, tokenizer, Scribe(tokenizer), examples, pixels, samples)
    print(shown(figures))
    if given.smoke:
        return
    result = {"command": "python benchmarks/base_model.py", **machine(), "rows": len(examples)}
    given.output.write_text(json.dumps({**result, "shares": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
