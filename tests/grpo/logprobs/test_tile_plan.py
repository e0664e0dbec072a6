"""How the log-prob op cuts its work: every column and token once, within the bytes given."""

import pytest
import torch

from grpo.logprobs.tile_plan import TilePlan, id_runs, tile_shape

# --- the plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 3, 64, 1003, 5000])
def test_the_tiles_cover_the_vocabulary_once_and_the_bans_with_it(columns):
    banned = [0, 1, 63, 64, 65, 500, 1002]
    plan = TilePlan(
        *(10, 1003, 4, min(columns, 1003), torch.float32, 1.0, False),
        *(id_runs(tuple(banned), 1003), -100),
    )
    assert list(plan.token_blocks()) == [(0, 4), (4, 8), (8, 10)]
    tiles = list(plan.vocabulary_chunks())
    assert [column for start, stop in tiles for column in range(start, stop)] == list(range(1003))
    found = [
        start + column
        for start, stop in tiles
        for low, high in plan.banned_in(start, stop)
        for column in range(low, high)
    ]
    assert found == banned


@pytest.mark.parametrize("num_tokens", [0, 1, 7, 4096, 70_000, 2**20])
@pytest.mark.parametrize("vocab_size", [33, 151_936])
@pytest.mark.parametrize("tile_bytes", [4 * 4096, 4 * 4096 * 63, 2**24, 2**28])
def test_a_tile_fits_its_bytes_and_wastes_little(num_tokens, vocab_size, tile_bytes):
    tokens, columns = tile_shape(num_tokens, vocab_size, tile_bytes, 4)
    assert 1 <= columns <= vocab_size
    assert 1 <= tokens <= max(num_tokens, 1)
    assert tokens * columns * 4 <= tile_bytes
    assert columns == vocab_size or (columns + 64) * tokens * 4 > tile_bytes
    assert tokens >= min(num_tokens, 4096)  # fewer would read the weights too often
    if tokens < num_tokens:  # only to keep the chunks wide enough, and as long as they then can be
        assert columns <= 256
        assert tokens == 4096 or (tokens + 1) * min(256, vocab_size) * 4 > tile_bytes


def test_the_shapes_of_a_default_step_on_a_gpu():
    assert tile_shape(8192, 151_936, 2**28, 4) == (8192, 8192)
    assert tile_shape(65_536, 151_936, 2**28, 4) == (65_536, 1024)
    assert tile_shape(2**19, 151_936, 2**28, 4) == (2**18, 256)
    assert tile_shape(1024, 151_936, 2**24, 2) == (1024, 8192)


def test_too_few_bytes_for_one_column_are_an_error():
    with pytest.raises(ValueError, match=r"tile_bytes=16383 holds no column of 4096.*least 16384"):
        tile_shape(100_000, 151_936, 4 * 4096 - 1, 4)
