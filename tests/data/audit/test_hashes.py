"""The difference hash and the bucketed search, against pictures and a plain double loop."""

import io
import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data.audit.hashes import difference_hash, hash_images, nearest_within
from data.held_images import held_image

NEAR = 4  # the default of --near-distance


def picture(seed: int) -> Image.Image:
    """A smooth colour picture: noise of 12 x 12 pixels, blown up."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((240, 200), Image.Resampling.BICUBIC)


def distance(one: Image.Image, other: Image.Image) -> int:
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


PERTURBED = {
    "resized": lambda image: image.resize((97, 81), Image.Resampling.BILINEAR),
    "enlarged": lambda image: image.resize((512, 512), Image.Resampling.BICUBIC),
    "recompressed": recompressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "gray": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("name", PERTURBED)
def test_the_hash_hardly_moves_when_a_picture_is(name):
    assert max(distance(picture(i), PERTURBED[name](picture(i))) for i in range(20)) <= NEAR


def test_different_pictures_are_far_apart():
    pairs = [(i, j) for i in range(20) for j in range(i)]
    assert min(distance(picture(i), picture(j)) for i, j in pairs) > 3 * NEAR


def test_each_bit_says_whether_a_pixel_is_brighter_than_its_left_neighbour():
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(ramp)) == 2**64 - 1
    assert difference_hash(Image.fromarray(ramp[:, ::-1].copy())) == 0
    ramp[7] = ramp[7, ::-1].copy()  # the lowest row falls: the last eight bits
    assert difference_hash(Image.fromarray(ramp)) == 2**64 - 1 - 255


def test_photographs_recompressed_are_near_and_others_are_not(shared):
    files = sorted((shared / "real_mini" / "Images" / "BCCD").glob("*.jpg"))[:12]
    images = [Image.open(file).convert("RGB") for file in files]
    for image in images:
        for name in ("resized", "recompressed", "brighter"):
            assert distance(image, PERTURBED[name](image)) <= NEAR
    assert min(distance(a, b) for a in images for b in images if a is not b) > NEAR


@pytest.mark.parametrize("reach", [0, 1, 4, 7])
def test_the_search_finds_what_comparing_all_pairs_finds(reach):
    draws = random.Random(reach)
    known = [draws.getrandbits(64) for _ in range(150)]
    queries = [draws.getrandbits(64) for _ in range(20)]
    for hash_ in known:  # around each a few, at 0 to 9 bits
        bits = draws.sample(range(64), draws.randrange(10))
        queries.append(hash_ ^ sum(1 << bit for bit in bits))
    slow = {}
    for query in queries:
        gap, best = min(((query ^ other).bit_count(), other) for other in known)
        if gap <= reach:
            slow[query] = (best, gap)
    assert nearest_within(queries, known, reach) == slow
    assert len(slow) > 5


def test_nothing_is_near_nothing():
    assert nearest_within([1, 2], [], 4) == nearest_within([], [1], 4) == {}


def test_unreadable_images_are_listed(tmp_path):
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    held = {"d": held_image(b"no image"), "e": held_image((tmp_path / "a.png").read_bytes())}
    found = hash_images({name: tmp_path / name for name in ("a.png", "b.png", "c.png")} | held)
    assert found.hashes == dict.fromkeys(("a.png", "e"), difference_hash(picture(0)))
    assert found.checksums["d"] == found.checksums["b.png"] != found.checksums["a.png"]
    assert found.checksums["e"] == found.checksums["a.png"]
    assert found.missing == ["c.png"]
    assert "cannot be decoded" in found.broken["b.png"]
