"""How often samples are right, row by row, with the image and without: the model's part.

Rows are sampled in their order, a batch of questions at a time; finished batches stand in
passes.jsonl, so an interrupted run goes on behind them. What is sampled depends on the seed and the
row's place alone.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.identity import CurationIdentity
from evaluation.answers.prediction import judge
from evaluation.asking.encoding import encode_checked
from evaluation.asking.samples import sample_groups
from evaluation.curate.place import SETTINGS, check_place
from evaluation.curate.reasons import Passes
from grpo.unreadable import ROW_ERRORS, UnreadableRows
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt
from process.bars import bar
from process.signals import held
from process.storage import write_text

PASSES = "passes.jsonl"


def open_passes(directory: Path, identity: CurationIdentity, ids: Sequence[str]) -> list[Passes]:
    """Return what an earlier, interrupted run in this directory has finished; make a new one.

    Args:
        directory: new, empty, or one that the same settings began.
        identity: what decides what is sampled.
        ids: of all rows, in their order.

    Raises:
        ValueError: the directory holds something else, a finished run, or one of other settings;
            what stands there is left alone.
    """
    check_place(directory)
    file = directory / SETTINGS
    if not file.exists():
        text = json.dumps(identity.to_json(), indent=2, ensure_ascii=False) + "\n"
        with held():  # a folder without it would be taken for somebody else's
            directory.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return []
    if difference := identity.difference(_read_json(file)):
        raise ValueError(
            f"{directory} was begun with another {difference.name}: run it again as it was begun,"
            " or name another --output-dir"
        )
    return _finished(directory / PASSES, ids)


def count_passes(
    policy: Policy,
    examples: Sequence[VQAExample],
    turn_builder: TurnBuilder,
    *,
    mode: str,
    max_completion_tokens: int,
    samples: int,
    seed: int,
    batch_size: int,
    directory: Path,
    done: Sequence[Passes],
) -> list[Passes]:
    """Return the counts of every row; those that are not ``done`` are sampled and appended.

    Args:
        policy: the model that would be trained.
        examples: the rows, in their order.
        turn_builder: makes the training's prompt.
        mode: which tags a completion must write.
        max_completion_tokens: where a completion is cut off.
        samples: k, per row and image.
        seed: of the samples.
        batch_size: completions sampled at once.
        directory: of passes.jsonl.
        done: as `open_passes` returns it.
    """
    size = max(1, batch_size // samples)
    # the same batches as without the interruption: batches move a sample by rounding at most
    found = list(done[: len(done) // size * size] if len(done) < len(examples) else done)
    _write_passes(directory / PASSES, found)

    unreadable = UnreadableRows()

    def encode(row: int) -> EncodedPrompt | str:
        """Return the row's prompt, or why it has none any more; that is said, too."""
        try:
            prompt = encode_checked(policy, examples[row], turn_builder, max_completion_tokens)
        except ROW_ERRORS as error:
            unreadable.add(error)
            tqdm.write(f"warning: not sampled, left out: {error}", file=sys.stderr)
            return str(error)
        unreadable.clear()
        return prompt

    def sample(rows: range) -> Iterator[Passes]:
        encoded = {row: encode(row) for row in rows}
        prompts = {row: one for row, one in encoded.items() if not isinstance(one, str)}
        counts = [count(prompts), count({row: one.blanked() for row, one in prompts.items()})]
        for row, prompt in encoded.items():
            name = examples[row].id
            if isinstance(prompt, str):
                yield Passes(name, 0, 0, unreadable=prompt)
            else:
                yield Passes(name, *(some[row] for some in counts))

    def count(prompts: Mapping[int, EncodedPrompt]) -> dict[int, int]:
        """Return how many samples of each row are right."""
        if not prompts:
            return {}
        groups = sample_groups(
            policy,
            list(prompts.values()),
            list(prompts),
            group_size=samples,
            max_completion_tokens=max_completion_tokens,
            seed=seed,
        )
        return {
            row: _right(examples[row], texts, mode)
            for row, texts in zip(prompts, groups, strict=True)
        }

    _run_batches(found, len(examples), size, sample, directory / PASSES)
    return found


def _run_batches(
    found: list[Passes],
    total: int,
    size: int,
    sample: Callable[[range], Iterator[Passes]],
    file: Path,
) -> None:
    with (
        bar(total=total, initial=len(found), desc="sampling", unit="row", leave=False) as rows,
        file.open("a", encoding="utf-8") as stream,
    ):
        while len(found) < total:
            new = list(sample(range(len(found), min(len(found) + size, total))))
            stream.write("".join(_line(item) for item in new))
            stream.flush()
            found += new
            rows.update(len(new))


def _right(example: VQAExample, texts: Sequence[str], mode: str) -> int:
    return sum(
        judge(example, text, mode=mode, completion_tokens=0, truncated=False).correct
        for text in texts
    )


def _finished(file: Path, ids: Sequence[str]) -> list[Passes]:
    """Return the whole lines of the file; the last one may have been cut off."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        found = [Passes(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): remove its directory to sample anew"
        ) from error
    if [item.id for item in found] != list(ids[: len(found)]):
        raise ValueError(
            f"{file} is about other rows than the data: remove its directory to sample anew"
        )
    return found


def _write_passes(file: Path, rows: Sequence[Passes]) -> None:
    """Replace the file by these rows, so that a line cut off is gone."""
    write_text(file, "".join(map(_line, rows)))


def _line(item: Passes) -> str:
    return json.dumps(asdict(item), ensure_ascii=False) + "\n"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): remove its directory to begin anew"
        ) from error
