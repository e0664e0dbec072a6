"""The files that each command leaves, and what is in them: one tiny run of everything."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from scripts.inventory.contents import contents, form
from scripts.inventory.running import run_words

_TINY = (
    *("--max-steps", "2", "--prompts-per-step", "2", "--eval-limit", "8"),
    *("--device", "cpu", "--seed", "0"),
)
_PROTOCOL = """
model = "tiny"
output_dir = "protocol"
methods = ["sft", "think"]
zero_shot = ["think"]
steps = 1
test_limit = 2
[data]
phantoms = true
[modality]
slices = ["CT", "Fundus"]
train_slices = ["CT"]
[question_type]
slices = ["Lesion Grading"]
[settings]
image_size = 84
max_completion_tokens = 20
prompts_per_step = 2
[settings.grpo]
group_size = 2
"""


def all_written(folder: Path) -> dict[str, Any]:
    """Run every command that writes, below an empty folder; return files and their contents.

    By command, file and what an entry stands in, such as `overall` in a summary.json.
    """
    written: dict[str, Any] = {}
    for command, output in _run_all(folder):
        written[command] = {}
        for path, files in _files(output).items():
            entries = sorted({entry for file in files for entry in contents(file)})
            written[command][path] = {
                place: [name for _, name in together]
                for place, together in groupby(entries, key=itemgetter(0))
            }
    return written


def _files(output: Path) -> dict[str, list[Path]]:
    """Return the files by their path in form; those of one form, such as images, together."""
    if output.is_file():
        return {output.name: [output]}
    found: dict[str, list[Path]] = {}
    for file in sorted(path for path in output.rglob("*") if path.is_file()):
        found.setdefault(form(file.relative_to(output).as_posix()), []).append(file)
    return found


def _run_all(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run one command after the other, and yield what it is and where it wrote."""
    run, scores = folder / "run", folder / "scores"
    last = run / "checkpoints" / "step-000002"

    run_words(["train.py", *_TINY, "--group-size", "4", "--output-dir", str(run)])
    yield "train.py", run
    grounded = ["--group-size", "2", "--grounding", "penalty", "--profile"]
    run_words(["train.py", *_TINY, *grounded, "--output-dir", str(folder / "grounded")])
    yield "train.py --grounding penalty --profile", folder / "grounded"
    run_words(["train.py", *_TINY, "--method", "sft", "--output-dir", str(folder / "sft")])
    yield "train.py --method sft", folder / "sft"

    run_words([
        *("evaluate.py", "--model", str(last), "--json", "phantoms", "--limit", "8"),
        *("--controls", "blank", "shuffled", "no_image", "swapped", "blur:4", "flip"),
        *("--permute-options", "2"),
        *("--text-prior", "phantoms", "--thoughts", "removed", "swapped", "borrowed"),
        *("--thought-samples", "2", "--device", "cpu", "--output-dir", str(scores)),
        *("--export", "medevalkit", "vlmevalkit", "lmms-eval"),
    ])  # fmt: skip
    yield "evaluate.py", scores
    run_words([
        *("evaluate.py", "matrix", "--models", f"CT={last}", "base=tiny"),
        *("--json", "phantoms:CT", "phantoms:MRI", "--limit", "2", "--controls", "blank"),
        *("--device", "cpu", "--output-dir", str(folder / "matrix")),
    ])  # fmt: skip
    yield "evaluate.py matrix", folder / "matrix"
    comparison = folder / "comparison.json"
    run_words(["evaluate.py", "compare", str(scores), str(scores), "--output", str(comparison)])
    yield "evaluate.py compare", comparison

    run_words(["train.py", "--resume", str(run), "--max-steps", "3"])  # after its checkpoint's use
    yield "train.py --resume", run
    (folder / "protocol.toml").write_text(_PROTOCOL, encoding="utf-8")
    protocol = ["--protocol", str(folder / "protocol.toml"), "--device", "cpu"]
    run_words(["train.py", *protocol, "--output-dir", str(folder / "protocol")])
    yield "train.py --protocol", folder / "protocol"
    yield from _run_data_commands(folder)


def _run_data_commands(folder: Path) -> Iterator[tuple[str, Path]]:
    images = folder / "phantoms"
    run_words(["-m", "data.phantoms", "--rows-per-cell", "1", "--output-dir", str(images)])
    yield "-m data.phantoms", images
    rows = [str(file) for file in sorted((images / "modality").glob("*.json"))]
    for module, flags in (("audit", ()), ("splits", ("--image-needed",))):
        out = folder / module
        given = ["--image-root", str(images), *flags, "--output-dir", str(out)]
        run_words(["-m", f"data.{module}", *rows, *given])
        yield f"-m data.{module}", out
    out = folder / "curated"
    run_words([
        *("-m", "evaluation.curate", "--model", "tiny", "--json", "phantoms:CT", "--limit", "6"),
        *("--samples", "2", "--drop", "--device", "cpu", "--output-dir", str(out)),
    ])  # fmt: skip
    yield "-m evaluation.curate", out
