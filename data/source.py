"""One file, or the embedded phantoms: its rows, those that are wrong, and what its content is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.embedded import content_checksum, embedded_examples
from data.examples import VQAExample
from data.faults import Fault
from data.named import is_phantoms, phantom_parts
from data.reading.bad_rows import BadRow
from data.reading.image_paths import NoImageRootError
from data.reading.only import Only
from data.reading.readers import parse_rows
from process.regular import sha256_of

Part = Literal["train", "eval"]


@dataclass(frozen=True)
class Source:
    """One of the sources of a flag, read."""

    name: str
    stem: str  # what its ids begin with
    label: str  # what messages call it
    checksum: str  # SHA-256 of its content
    examples: list[VQAExample]
    bad_rows: list[BadRow]

    @property
    def count(self) -> int:
        """Return how many rows it has, bad ones too."""
        return len(self.examples) + len(self.bad_rows)

    def rows_with(self, faults: Mapping[str, Fault]) -> list[BadRow]:
        """Return its examples that are among those with a fault, by their ids, as bad rows."""
        return [
            BadRow(self.label, row_number(example), fault.value, fault.reason)
            for example in self.examples
            if (fault := faults.get(example.id)) is not None
        ]


def read_source(
    name: str, stem: str, part: Part, image_root: str | Path | None, only: Only
) -> Source:
    """Return one source's rows; `load_splits` says what the arguments are, and what is raised."""
    if is_phantoms(name):
        examples = embedded_examples(part, *phantom_parts(name))
        label = examples[0].id.rpartition("-")[0]  # of both parts there are phantoms
        checksum = content_checksum(examples)
        examples = [example for example in examples if only.keeps_drawn(example)]
        return Source(name, stem, label, checksum, examples, [])
    if image_root is not None and not Path(image_root).is_dir():
        raise ValueError(f"image root {image_root} is not a folder: check --image-root")
    try:
        examples, bad_rows = parse_rows(name, image_root, stem, only)
    except NoImageRootError as error:
        raise ValueError(f"the images of {name} have no folder: add --image-root") from error
    checksum = sha256_of(name)
    return Source(name, stem, name, checksum, examples, bad_rows)


def row_number(example: VQAExample) -> int:
    """Return which row of its file an example is, from 0."""
    return int(example.id.rpartition("-")[2])
