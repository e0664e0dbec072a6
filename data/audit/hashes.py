"""Pictures that are the same: byte for byte, or nearly, by a difference hash.

The difference hash is the usual 64-bit one: the picture is made gray and 9 x 8 pixels small, and
each bit says whether a pixel is brighter than its left neighbour. Size, compression and brightness
hardly move it. Pictures of one kind from one apparatus may come close, too: a near-duplicate is a
pair to look at, not a proof.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from data.examples import StoredImage
from data.held_images import HeldImage
from data.images import load_image
from process.regular import sha256_of

HASH_BITS = 64
_SPREAD = 37  # odd, so that i * 37 mod 64 visits every bit once


@dataclass
class ImageHashes:
    """What was read of some images, by what they are called."""

    checksums: dict[str, str] = field(
        default_factory=dict
    )  # SHA-256 of the file, or of the bytes in a row
    hashes: dict[str, int] = field(default_factory=dict)  # `difference_hash`
    missing: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # with the reason; they have a checksum


def hash_images(images: Mapping[str, StoredImage]) -> ImageHashes:
    """Read every image once and return what was found; an unreadable one is listed, not raised.

    Args:
        images: where each is read from, by what it is called.
    """
    found = ImageHashes()
    for image in sorted(images):
        source = images[image]
        try:
            found.checksums[image] = _checksum(source)
        except OSError:
            found.missing.append(image)
            continue
        try:
            found.hashes[image] = difference_hash(load_image(source, image_size=0))
        except ValueError as error:
            found.broken[image] = str(error)
    return found


def _checksum(source: StoredImage) -> str:
    if isinstance(source, HeldImage):
        return hashlib.sha256(source.read()).hexdigest()
    return sha256_of(source)


def difference_hash(image: Image.Image) -> int:
    """Return the 64-bit difference hash of a picture, row by row from the top left corner."""
    small = image.convert("L").resize((9, 8), Image.Resampling.BOX)
    pixels = np.asarray(small).astype(np.int16)
    return int.from_bytes(np.packbits(pixels[:, 1:] > pixels[:, :-1]).tobytes(), "big")


def nearest_within(
    queries: Iterable[int], known: Iterable[int], distance: int
) -> dict[int, tuple[int, int]]:
    """Return (nearest known hash, Hamming distance) of each query that has one within ``distance``.

    The bits are cut into distance + 1 bands. Two hashes that differ in at most ``distance`` bits
    agree in at least one whole band, so only hashes of one bucket are compared, never all pairs. Of
    equally near ones the smallest is returned.
    """
    hashes = np.array(sorted(set(known)), dtype=np.uint64)
    nearest: dict[int, tuple[int, int]] = {}
    wanted = sorted(set(queries))
    for mask in _bands(distance + 1):
        buckets = _buckets(hashes, mask)
        for query in wanted:
            places = buckets.get(query & mask)
            if places is None:
                continue
            gaps = np.bitwise_count(hashes[places] ^ np.uint64(query))
            best = int(gaps.argmin())
            candidate = (int(gaps[best]), int(hashes[places[best]]))
            if candidate[0] <= distance and candidate < nearest.get(query, (HASH_BITS + 1, 0)):
                nearest[query] = candidate
    return {query: (known_hash, gap) for query, (gap, known_hash) in nearest.items()}


def near_pairs(hashes: Iterable[int], distance: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs (smaller, larger) of different hashes within ``distance``, some repeatedly.

    By the bands of `nearest_within`: only hashes of one bucket are compared.
    """
    known = np.array(sorted(set(hashes)), dtype=np.uint64)
    for mask in _bands(distance + 1):
        for places in _buckets(known, mask).values():
            bucket = known[places]
            for place, value in enumerate(bucket[:-1]):
                rest = bucket[place + 1 :]
                for other in rest[np.bitwise_count(rest ^ value) <= distance]:
                    yield int(value), int(other)


def _bands(count: int) -> Iterator[int]:
    """Yield ``count`` masks that share out the bits.

    Each takes bits from all over the picture: a band of neighbours would be a black margin in many
    medical pictures, and all of them one bucket.
    """
    order = [i * _SPREAD % HASH_BITS for i in range(HASH_BITS)]
    for band in range(count):
        start, end = (HASH_BITS * i // count for i in (band, band + 1))
        yield sum(1 << bit for bit in order[start:end])


def _buckets(hashes: np.ndarray, mask: int) -> Mapping[int, np.ndarray]:
    """Return the places of the hashes, ascending, by their bits under the mask."""
    values = hashes & np.uint64(mask)
    order = np.argsort(values, kind="stable")
    keys, starts = np.unique(values[order], return_index=True)
    return dict(zip(keys.tolist(), np.split(order, starts[1:]), strict=True)) if len(keys) else {}
