"""Make models/tiny, the embedded base model: its tokenizer, its weights, every file of its folder.

    python scripts/build_tiny_model.py --output-dir models/tiny
    python scripts/build_tiny_model.py --start models/tiny --output-dir models/tiny_open

The second goes on from what the first made, with open, yes-or-no and counting questions among the
others, in minutes. The first runs once, for about half an hour on two CPU cores, and prints the
figures of docs/embedded.md. The model learns to bind (an option to its letter and back), to see (it
describes phantoms of the pre-training part) and to answer in three modes with the mistakes that
scripts/tiny/mixture.py describes. GRPO then starts from what it can do but does not prefer.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone, from any folder

from data.images import decode  # noqa: E402
from data.phantoms import CountedImage, PhantomImage, phantom_examples  # noqa: E402
from scripts.tiny.checkpoint import load_checkpoint, make_model, save_checkpoint  # noqa: E402
from scripts.tiny.measure import measured, shown  # noqa: E402
from scripts.tiny.mixture import OPEN_STAGES, STAGES, Stage  # noqa: E402
from scripts.tiny.sequences import Scribe  # noqa: E402
from scripts.tiny.text import corpus  # noqa: E402
from scripts.tiny.tokenizer import train_tokenizer  # noqa: E402
from scripts.tiny.training import train_stage  # noqa: E402


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    if args.start is None:
        tokenizer = train_tokenizer(corpus(), vocab_size=args.vocab_size)
        model, first = make_model(tokenizer, args.seed), 0
        stages: Sequence[Stage] = STAGES
    else:
        tokenizer, model = load_checkpoint(args.start)
        stages, first = OPEN_STAGES, len(STAGES)
    scribe = Scribe(tokenizer)
    parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{parameters:,} parameters, {tokenizer.get_vocab_size()} tokens")

    pool = draw_pool("pretrain", args.rows_per_cell)
    counted = None if args.start is None else draw_counted(args.rows_per_cell)
    for number, stage in enumerate(stages, first):
        stage = stage.shortened(args.scale)
        train_stage(model, scribe, stage, pool, args.seed * 100 + number, counted)
        save_checkpoint(model, tokenizer, args.output_dir)
    print(f"made in {(time.perf_counter() - started) / 60:.1f} minutes: {args.output_dir}")

    heldout = phantom_examples("heldout")
    print(shown(measured(model, tokenizer, scribe, heldout, draw_pool("heldout", None)[0])))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--output-dir", type=Path, required=True, help="where the folder is written"
    )
    parser.add_argument(
        "--start", type=Path, help="models/tiny: go on from it with questions without letters"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--vocab-size", type=int, default=700, help="at most, special tokens apart")
    parser.add_argument(
        "--rows-per-cell", type=int, default=500, help="pre-training images / 40: 20,000 in all"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the stages' steps: 0.01 tries the script out"
    )
    return parser.parse_args()


def draw_pool(part: str, rows_per_cell: int | None):
    """Return the part's pixels (count, 84, 84, 3) as bytes, and the attributes they show."""
    sources = [row.images[0] for row in phantom_examples(part, rows_per_cell=rows_per_cell)]
    pixels = np.stack([np.asarray(decode(source)) for source in sources])
    facts = [source.attributes for source in sources if isinstance(source, PhantomImage)]
    return torch.from_numpy(pixels), facts


def draw_counted(rows_per_cell: int):
    """Return images of one to four lesions, what else they show, and how many they are."""
    rows = phantom_examples("pretrain", asked="count", rows_per_cell=rows_per_cell)
    sources = [row.images[0] for row in rows if isinstance(row.images[0], CountedImage)]
    pixels = np.stack([np.asarray(source()) for source in sources])
    facts, counts = [one.attributes for one in sources], [one.count for one in sources]
    return torch.from_numpy(pixels), facts, counts


if __name__ == "__main__":
    main()
