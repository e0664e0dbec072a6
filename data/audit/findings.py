"""The whole audit as one object of plain values, as audit.json holds it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.audit.audited import AuditFile, FilePair, pairs_of
from data.audit.facts import file_facts
from data.audit.hashes import ImageHashes, hash_images, nearest_within
from data.audit.overlap import foreign_rows, path_overlap, patient_overlap
from data.priors import LinearRanker, TextPrior, fit_all, prior_table
from data.priors.fitted import score
from data.priors.ranker import design_of

AUDIT_FORMAT = 1
_SHOWN_PAIRS = 20
_TOTALS = ("rows", "bad_rows", "equal_options", "right_option_repeated", "unknown_modality")


def audit(
    files: Sequence[AuditFile],
    image_root: Path | None = None,
    near_distance: int = 4,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Return all facts about the files; images are opened only where a root is given.

    Raises:
        ValueError: no train file has its test file; no image at all lies under the root.
    """
    pairs = pairs_of(files)
    facts = {file.name: file_facts(file) for file in files}
    pictures = None if image_root is None else _pictures(pairs, image_root)
    priors = {file.name: fit_all(file.examples) for file in files if file.part == "train"}
    return {
        "format": AUDIT_FORMAT,
        "image_root": None if image_root is None else str(image_root),
        "near_distance": near_distance,
        "only": list(only),
        "files": facts,
        "totals": {name: sum(fact[name] for fact in facts.values()) for name in _TOTALS},
        "pairs": {
            test.name: _pair_facts(pair, priors[train.name], pictures, near_distance)
            for pair in pairs
            for train, test in [pair]
        },
        "matrix": _matrix(files, priors),
        "foreign_rows": foreign_rows(files, pairs),
    }


def _pair_facts(
    pair: FilePair, priors: dict[str, TextPrior], pictures: ImageHashes | None, near_distance: int
) -> dict[str, Any]:
    train, test = pair
    facts = {
        "train": train.name,
        "test": test.name,
        "label": test.label,
        **prior_table(priors, test.examples),
        "images": path_overlap(train, test),
        "patients": patient_overlap(train, test),
    }
    if pictures is not None:
        facts["images"] |= _picture_overlap(train, test, pictures, near_distance)
    return facts


def _matrix(
    files: Sequence[AuditFile], priors: dict[str, dict[str, TextPrior]]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return prior -> test file -> train file -> accuracy, None where it answers no row.

    Priors that answer no row of any are left out.
    """
    names = list(next(iter(priors.values())))
    matrix: dict[str, dict[str, dict[str, float | None]]] = {name: {} for name in names}
    for test in (file for file in files if file.part == "test"):
        design = design_of(test.examples)  # once for all rankers
        for name in names:
            matrix[name][test.name] = {
                train: score(_answers(fitted[name], test, design), test.examples)["accuracy"]
                for train, fitted in priors.items()
            }
    return {
        name: of_test
        for name, of_test in matrix.items()
        if any(share is not None for row in of_test.values() for share in row.values())
    }


def _answers(prior: TextPrior, test: AuditFile, design: Any) -> list[str | None]:
    if isinstance(prior, LinearRanker):
        return prior.choose_design(design, test.examples)
    return prior.choose_all(test.examples)


def _pictures(pairs: Sequence[FilePair], image_root: Path) -> ImageHashes:
    images = {
        name: source for pair in pairs for file in pair for name, source in file.pictures.items()
    }
    found = hash_images(images)
    if images and not found.checksums:  # questions in words alone have none
        raise ValueError(
            f"none of the {len(images):,} images lies under {image_root}, {found.missing[0]} for"
            " example: pass the folder under which the files' paths begin, or no --image-root"
        )
    return found


def _picture_overlap(
    train: AuditFile, test: AuditFile, pictures: ImageHashes, near_distance: int
) -> dict[str, Any]:
    """Return the test rows that show a train picture by content, or nearly, and whom to look at."""
    train_images = sorted({image for images in train.images for image in images})
    test_images = {image for images in test.images for image in images}
    contents = {pictures.checksums[i] for i in train_images if i in pictures.checksums}
    owners = {pictures.hashes[i]: i for i in reversed(train_images) if i in pictures.hashes}
    queries = {pictures.hashes[i] for i in test_images if i in pictures.hashes}
    near = nearest_within(queries, owners, near_distance)
    same = {i for i in test_images if pictures.checksums.get(i) in contents}
    close = {i for i in test_images if pictures.hashes.get(i) in near}
    shown = sorted(
        (near[pictures.hashes[i]][1], i, owners[near[pictures.hashes[i]][0]]) for i in close - same
    )
    every = test_images.union(train_images)
    return {
        "found": len(every & pictures.checksums.keys()),
        "missing": len(every.intersection(pictures.missing)),
        "broken": len(every & pictures.broken.keys()),
        "same_content": sum(not same.isdisjoint(images) for images in test.images),
        "near_duplicate": sum(not (same | close).isdisjoint(images) for images in test.images),
        "near_duplicates_shown": [
            {"distance": gap, "test": image, "train": other}
            for gap, image, other in shown[:_SHOWN_PAIRS]
        ],
    }
