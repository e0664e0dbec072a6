"""What the processes of tests/evaluation/test_ranks.py do, and one process for comparison.

    python -m tests.evaluation.at_work FOLDER PART .. FOLDER PART ..      under torchrun

Each part leaves its files below the folder that was named last.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import evaluate
import train
from data.phantoms import phantom_examples
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.answers.unfinished import Unfinished
from evaluation.asking.evaluation_plan import summarize_passes
from evaluation.curate.__main__ import main as curate
from evaluation.heldout import HeldOut
from models import load_policy
from process.command import exit_status_of
from process.ranks import joined, place, world
from tests.evaluation.asking.test_resumable import BATCH, Answers, evaluation

ROWS = ("--json", "phantoms:CT", "phantoms:MRI", "--limit", "5", "--batch-size", "2")
SCORE = (
    *("--model", "tiny", *ROWS, "--controls", "blank", "no_image", "flip", "blur:2,8"),
    *("--permute-options", "2", "--export", "medevalkit", "vlmevalkit", "lmms-eval"),
    *("--thoughts", "swapped", "borrowed", "--thought-samples", "2"),
)
MATRIX = (
    *("matrix", "--models", "CT=tiny", "base=tiny", *ROWS, "--max-completion-tokens", "8"),
    *("--mode", "no_think"),
)
CURATE = (
    *("--model", "tiny", "--json", "phantoms:CT", "phantoms:MRI", "--limit", "5"),
    *("--samples", "2", "--batch-size", "4"),
)

THINK = TEMPLATES["think"]
PROTOCOL = """
model = "tiny"
output_dir = "{out}"
methods = ["think"]
zero_shot = []
steps = 1
test_limit = 2
batch_size = 1
[data]
phantoms = true
[modality]
slices = ["CT"]
[settings]
max_completion_tokens = 20
prompts_per_step = 2
[settings.grpo]
group_size = 2
"""


def score(folder: Path) -> int:
    """Score once, with all that is asked again."""
    return evaluate.main([*SCORE, "--output-dir", str(folder / "score")])


def batches(folder: Path, answers: Answers | None = None) -> int:
    """Ask one whose answers depend on all that is asked with them, as by rounding on a GPU."""

    def ask() -> None:
        job = evaluation(folder / "batches")
        job.run(answers or Answers(), BATCH, progress=False)
        if world().is_first:
            job.write(summarize_passes(job.plan, job.predictions()))

    with joined():
        return exit_status_of(ask, kept="", lower="")


def fails(folder: Path) -> int:
    """The same until the third batch of rank 1, which fails there."""
    stop_after = 2 if place().rank == 1 else None
    return batches(folder, Answers(stop_after, ValueError("the third batch of rank 1")))


def full(folder: Path) -> int:
    """The same where the first process cannot write the fourth batch's answers."""
    append, count = Unfinished.append, []

    def appending(answers, predictions):
        count.append(predictions)
        if len(count) == 4:
            raise ValueError("answers cannot be written: no room")
        append(answers, predictions)

    Unfinished.append = appending
    try:
        return batches(folder)
    finally:
        Unfinished.append = append


def matrix(folder: Path) -> int:
    """Fill a matrix of two models."""
    return evaluate.main([*MATRIX, "--output-dir", str(folder / "matrix")])


def curated(folder: Path) -> int:
    """Sample rows."""
    return curate([*CURATE, "--output-dir", str(folder / "curate")])


def protocol(folder: Path) -> int:
    """Train an arm and ask it."""
    folder.mkdir(exist_ok=True)
    (folder / "p.toml").write_text(PROTOCOL.format(out=folder / "protocol"))
    return train.main(["--protocol", str(folder / "p.toml")])


def held_out(folder: Path) -> int:
    """Evaluate as training does, in two batches and in one; an image is gone."""
    with joined():
        rows = phantom_examples("heldout")[:5]
        rows[1] = replace(rows[1], images=(Path("gone.png"),))
        policy, turns, found = load_policy("tiny", device="cpu"), TurnBuilder(THINK, 84), []
        for batch_size in (3, 5):
            ask = HeldOut(rows, turns, "think", 24, batch_size=batch_size)
            found.append([ask(policy, step=3), [item.to_json() for item in ask.predictions]])
            assert [item.id for item in ask.predictions if item.unanswered] == [rows[1].id]
        text = json.dumps(found)
        assert set(world().gather(text)) == {text}
        if world().is_first:
            folder.mkdir(exist_ok=True)
            (folder / "heldout.json").write_text(text)
    return 0


PARTS = {
    "score": score,
    "batches": batches,
    "matrix": matrix,
    "curate": curated,
    "protocol": protocol,
    "heldout": held_out,
    "fails": fails,
    "full": full,
}

if __name__ == "__main__":
    statuses, folder = [], Path()
    with joined():
        for word in sys.argv[1:]:
            if word in PARTS:
                statuses.append(PARTS[word](folder))
            else:
                folder = Path(word)
        print(f"rank {world().rank} ended with {statuses}", flush=True)
