"""100 rows and 100 images that nobody should publish: each ends as an example or in named words.

benchmarks/fuzz.py reads ten times as many, larger ones, in a process of their own.
"""

import os
import random
import re
import warnings

import pytest

from benchmarks.fuzz_inputs import bomb, fuzzed_image, rows_file
from data.image_bounds import MAX_PIXELS
from data.image_files import examine_images
from data.images import load_image
from data.options import keeps_order, same_option
from data.reading.readers import read_examples
from data.verdict_cache import VerdictCache

SEEDS = range(10_000, 10_100)  # others than the benchmark's


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_fuzzed_rows_become_examples_or_bad_rows_or_one_message(tmp_path):
    path, read = tmp_path / "CT_train.json", 0
    for seed in SEEDS:
        path.write_bytes(rows_file(random.Random(seed), 30_000))
        try:
            examples, bad_rows = read_examples(path, tmp_path, skip_bad_rows=True)
        except ValueError as error:
            assert not isinstance(error, MemoryError) and str(path) in str(error), seed
            continue
        read += 1
        assert len(examples) + len(bad_rows) == 3, seed
        for example in examples:
            keeps_order(example.options)
            assert all(map(same_option, example.options))
            repr(example).encode()
        for bad in bad_rows:
            assert len(str(bad)) < 2000 and bad.row in (0, 1, 2), seed
            str(bad).encode()
    assert read > 50


def test_fuzzed_images_are_decoded_or_named_and_check_and_decoding_agree(tmp_path):
    path, decoded = tmp_path / "a.png", 0
    for seed in SEEDS:
        path.write_bytes(fuzzed_image(random.Random(seed))[1])
        os.utime(path, ns=(seed, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about damaged tags
            verdict = examine_images([path], VerdictCache())[path]
            try:
                image = load_image(path, 56)
            except ValueError as error:
                assert not isinstance(error, MemoryError), seed
                assert verdict.size is None and re.search(r"a\.png (is|cannot be)", str(error))
                continue
        decoded += 1
        assert verdict.size is not None and verdict.size[0] * verdict.size[1] <= MAX_PIXELS
        assert (image.mode, image.size) == ("RGB", (56, 56))
    assert decoded > 20


def test_inputs_depend_on_their_seed_alone():
    for make in (lambda rng: rows_file(rng, 99), fuzzed_image, bomb):
        assert make(random.Random(3)) == make(random.Random(3))
