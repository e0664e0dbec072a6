"""Rows that must stay in one part: one image, one file's bytes, nearly one picture, one patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.audit.hashes import ImageHashes, hash_images, near_pairs
from data.examples import StoredImage, VQAExample, image_name
from data.grouping import components, row_keys
from data.patients import patients_of


@dataclass(frozen=True)
class Pictures:
    """What was read of the images; empty where no image root is given."""

    hashes: ImageHashes = field(default_factory=ImageHashes)
    near: dict[str, list[str]] = field(default_factory=dict)  # image -> one tie per near picture


def read_pictures(examples: Sequence[VQAExample], image_root: Path, distance: int) -> Pictures:
    """Return contents and near-duplicates of all images, by the examples' image names.

    Raises:
        ValueError: no image at all lies under the root.
    """
    images = {
        image_name(source): source
        for example in examples
        for source in example.images
        if isinstance(source, StoredImage)
    }
    found = hash_images(images)
    if images and not found.checksums:  # questions in words alone have none
        raise ValueError(
            f"none of the {len(images):,} images lies under {image_root}, {found.missing[0]} for"
            " example: pass the folder under which the files' paths begin, or no --image-root"
        )
    return Pictures(found, _near_ties(found.hashes, distance))


def keys_of(
    examples: Sequence[VQAExample], pictures: Pictures, *, patient: bool = False
) -> list[list[tuple[str, str]]]:
    """Return, per row, what ties it to others; see `data.grouping.row_keys`."""
    keys = []
    for example in examples:
        its = row_keys(example, patient=patient, contents=pictures.hashes.checksums)
        its += [
            ("near", tie) for name in example.image_names for tie in pictures.near.get(name, ())
        ]
        keys.append(its)
    return keys


def groups_of(
    examples: Sequence[VQAExample], pictures: Pictures, *, patient: bool = False
) -> list[list[int]]:
    """Return the row numbers of every group, see `data.grouping.components`.

    Raises:
        ValueError: patients are asked for and no row and no file name gives one.
    """
    if patient and (readable := rows_with_patient(examples)) == 0:
        raise ValueError(
            "no row has a subject_id, and no patient or series can be read from the file names:"
            f" {len(examples) - readable:,} of"
            f" {len(examples):,} rows are without one (data/patients.py says which names give one);"
            " use --disjoint image"
        )
    return components(keys_of(examples, pictures, patient=patient))


def rows_with_patient(examples: Sequence[VQAExample]) -> int:
    """Return the rows that give a patient or series, in a field or by a file's name."""
    return sum(bool(patients_of(example)) for example in examples)


def _near_ties(hashes: Mapping[str, int], distance: int) -> dict[str, list[str]]:
    """Return ties such that near pictures share one: each pair of near hashes is a tie."""
    ties: dict[int, list[str]] = {value: [f"{value:016x}"] for value in hashes.values()}
    for one, other in near_pairs(ties, distance):
        ties[one].append(f"{one:016x}-{other:016x}")
        ties[other].append(f"{one:016x}-{other:016x}")
    return {name: ties[value] for name, value in hashes.items()}
