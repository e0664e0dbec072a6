"""What ``--train-json`` and ``--eval-json`` name: published files, or the embedded phantoms."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.examples import VQAExample
from data.images import load_image, rows_without_images
from data.readers import BadRow, read_examples

_PHANTOMS = "phantoms"
_PHANTOM_PARTS = {"train": "train", "eval": "heldout"}


@dataclass(frozen=True)
class Split:
    """All examples of one flag's sources, what was skipped, and what the sources held."""

    examples: list[VQAExample]
    bad_rows: list[BadRow]  # left out by skip_bad_rows: the caller says how many
    checksums: dict[str, str]  # source's name -> SHA-256 of its content


def load_split(
    names: Sequence[str],
    *,
    part: Literal["train", "eval"],
    image_root: str | Path | None,
    skip_bad_rows: bool = False,
) -> Split:
    """Return the examples of several sources, one after the other.

    Args:
        names: JSON files, ``phantoms``, or one slice of them such as ``phantoms:CT`` and
            ``phantoms:Lesion Grading``.
        part: which flag names them: phantoms have a training and a held-out part.
        image_root: the folder under which the files' image paths begin; phantoms need none.
        skip_bad_rows: leave out rows that are wrong and list them, instead of raising.

    Raises:
        ValueError: no name; a file without an image root; what `read_examples` raises; two sources
            that would give two examples one id.
    """
    if not names:
        raise ValueError(f"no {part} data is named: pass JSON files, or phantoms")
    examples: list[VQAExample] = []
    bad_rows: list[BadRow] = []
    checksums: dict[str, str] = {}
    for given in names:
        name = str(given)
        if is_phantoms(given):
            found = _phantoms(name, part)
            checksums[name] = _content_checksum(found)
        else:
            found, bad = read_examples(
                name, _checked_root(image_root, name), skip_bad_rows=skip_bad_rows
            )
            bad_rows += bad
            if skip_bad_rows:
                found, bad = _with_images(found, Path(name))
                bad_rows += bad
            checksums[name] = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        examples += found
    _check_ids(examples)
    return Split(examples, bad_rows, checksums)


def _with_images(examples: list[VQAExample], file: Path) -> tuple[list[VQAExample], list[BadRow]]:
    """Return the examples whose images are there, and the rows of the others."""
    reasons = rows_without_images(examples)
    bad = [
        BadRow(
            str(file),
            int(example.id.rpartition("-")[2]),
            ", ".join(example.image_names),
            reasons[example.id],
        )
        for example in examples
        if example.id in reasons
    ]
    if len(bad) == len(examples):
        raise ValueError(
            f"no row of {file} has its images ({bad[0].reason}, for example): check --image-root"
        )
    return [example for example in examples if example.id not in reasons], bad


def is_phantoms(name: str | Path) -> bool:
    """Return whether ``name`` means the embedded data set, not a file.

    It does so whatever lies in the working directory; ``./phantoms``, and a Path always, is a file.

    >>> is_phantoms("phantoms:CT"), is_phantoms("./phantoms"), is_phantoms(Path("phantoms"))
    (True, False, False)
    """
    if isinstance(name, Path):
        return False
    return name == _PHANTOMS or name.startswith(f"{_PHANTOMS}:")


def _phantoms(name: str, part: str) -> list[VQAExample]:
    from data.phantoms import phantom_examples  # draws with numpy: only for who asks for it

    _, colon, slice_name = name.partition(":")
    return phantom_examples(_PHANTOM_PARTS[part], slice_name.strip() if colon else None)


def _checked_root(image_root: str | Path | None, name: str) -> Path:
    if image_root is None:
        raise ValueError(f"the images of {name} have no folder: add --image-root")
    if not Path(image_root).is_dir():
        raise ValueError(f"image root {image_root} is not a folder: check --image-root")
    return Path(image_root)


def _content_checksum(examples: Sequence[VQAExample]) -> str:
    """Return the SHA-256 of every row's text and of a few drawings, 10 to 50 ms in all.

    Drawn are the first and the last row of each modality, since each has drawing code of its own:
    a change in it changes what is learned, and a run that began with the old pictures must know.
    """
    digest = hashlib.sha256()
    for example in examples:
        fields = (example.id, example.image_names, example.question, example.options)
        digest.update(repr((*fields, example.answer)).encode())
    first = {example.modality: example for example in reversed(examples)}
    last = {example.modality: example for example in examples}
    for modality in sorted(first):
        for example in (first[modality], last[modality]):
            for source in example.images:
                image = load_image(source, image_size=0)
                digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()


def _check_ids(examples: Sequence[VQAExample]) -> None:
    sources: dict[str, str] = {}
    for example in examples:
        if example.id in sources:
            raise ValueError(
                f"two examples have the id {example.id}, from {sources[example.id]} and"
                f" {example.source}: name each source once, and rename one of two files of one name"
            )
        sources[example.id] = example.source
