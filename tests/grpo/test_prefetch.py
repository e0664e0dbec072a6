"""Batches from background threads: the same ones, each example once, unreadable rows redrawn."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch

from grpo.prefetch import STEPS_AHEAD, BatchLoader
from grpo.unreadable import LIMIT
from process.memory import MemoryRanOutError
from tests.models.nano import random_image
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model


class Encoder:
    """Encodes by name and remembers what it was asked; slower for some, to mix up the order."""

    def __init__(self, fails_at: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.threads: set[str] = set()
        self.fails_at = fails_at

    def __call__(self, example: str) -> SimpleNamespace:
        self.asked.append(example)
        self.threads.add(threading.current_thread().name)
        if example in self.fails_at:
            raise ValueError(f"{example} cannot be read")
        time.sleep(0.002 * (hash(example) % 3))
        return SimpleNamespace(name=example)


def loader(encode, steps, size=3):
    return BatchLoader("example {}".format, "instead of {}, {}".format, encode, size, steps)


def test_every_batch_is_what_its_step_says_and_every_example_is_encoded_once():
    encode = Encoder()
    with loader(encode, range(4, 10)) as batches:
        for step in range(4, 10):
            batch = batches.batch(step)
            assert batch.step == step
            assert batch.positions == (3 * step, 3 * step + 1, 3 * step + 2)
            assert batch.examples == tuple(f"example {i}" for i in batch.positions)
            assert tuple(prompt.name for prompt in batch.prompts) == batch.examples
    assert sorted(encode.asked) == sorted(f"example {i}" for i in range(12, 30))
    assert threading.current_thread().name not in encode.threads


def test_the_next_batches_are_begun_before_they_are_asked_for():
    encode = Encoder()
    with loader(encode, range(100)) as batches:
        batches.batch(0)
        deadline = time.monotonic() + 30
        while len(encode.asked) < 3 * (1 + STEPS_AHEAD) and time.monotonic() < deadline:
            time.sleep(0.005)
    assert len(encode.asked) == 3 * (1 + STEPS_AHEAD)  # and no further: memory is bounded


def test_a_row_that_cannot_be_encoded_is_redrawn_in_its_place_and_no_other_moves():
    encode = Encoder(fails_at=("example 4", "instead of 4, 0"))
    with loader(encode, range(5)) as batches:
        assert batches.batch(0).redrawn == ()
        batch = batches.batch(1)
        assert batch.examples == ("example 3", "instead of 4, 1", "example 5")
        assert tuple(prompt.name for prompt in batch.prompts) == batch.examples
        assert batch.positions == (3, 4, 5)  # what the random numbers depend on
        assert batch.redrawn == (
            "a row is redrawn, instead of 4, 1 takes its place: example 4 cannot be read",
        )
        assert batches.batch(2).redrawn == ()


def test_where_nothing_can_be_read_any_more_the_run_stops():
    class Gone(Encoder):
        def __call__(self, example):
            if example not in ("example 0", "example 1"):
                raise ValueError(f"{example} cannot be read")
            return super().__call__(example)

    before = threading.active_count()
    with (
        loader(Gone(), range(5)) as batches,
        pytest.raises(ValueError, match=r"50 rows in a row .*instead of 2, 48 cannot be read"),
    ):
        batches.batch(0)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [MemoryError(), MemoryRanOutError("while a.png was decoded")])
def test_memory_that_ran_out_costs_no_row_but_ends_the_steps(error):
    class Full(Encoder):
        def __call__(self, example):
            if example == "example 2":
                raise error
            return super().__call__(example)

    encode = Full()
    with loader(encode, range(9)) as batches, pytest.raises(type(error)):
        batches.batch(0)
    assert not any(name.startswith("instead") for name in encode.asked)


def test_rows_that_fail_here_and_there_never_stop_a_run():
    class Flaky(Encoder):
        def __call__(self, example):
            if example.startswith("example") and int(example.split()[1]) % 3:
                raise OSError(f"{example} cannot be read")
            return super().__call__(example)

    with loader(Flaky(), range(LIMIT)) as batches:
        found = [batches.batch(step) for step in range(LIMIT)]
    assert {len(batch.redrawn) for batch in found} == {2}


def test_a_mistake_of_ours_comes_out_with_the_batch_it_belongs_to_and_the_threads_end():
    def encode(example):
        if example == "example 4":
            raise TypeError("no prompt")
        return SimpleNamespace(name=example)

    before = threading.active_count()
    with loader(encode, range(5)) as batches:
        assert batches.batch(0).examples[0] == "example 0"
        with pytest.raises(TypeError, match="no prompt"):
            batches.batch(1)
    assert threading.active_count() == before


def test_leaving_early_stops_the_threads():
    encode = Encoder()
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), loader(encode, range(50)):
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_a_real_processor_encodes_the_same_on_many_threads(nano_policy):
    texts = [f"Which plane is number {i}?" * (1 + i % 3) for i in range(60)]
    images = [random_image(56, 56 + 28 * (i % 3), seed=i) for i in range(60)]

    def encode(item):
        return nano_policy.processor.encode(item[0], [item[1]])

    items = list(zip(texts, images, strict=True))
    expected = [encode(item) for item in items]
    with BatchLoader(items.__getitem__, None, encode, 6, range(10)) as batches:
        found = []
        for step in range(10):
            found += batches.batch(step).prompts
            nano_policy.processor.decode([65, 66, 67])  # the main thread uses the tokenizer too
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.input_ids, other.input_ids)
        assert torch.equal(one.pixel_values, other.pixel_values)


def test_each_process_encodes_its_own_share_and_all_know_what_the_others_took():
    encoders = [Encoder(fails_at=("example 4", "instead of 4, 0")) for _ in range(2)]

    def batch(rank):
        with loader(encoders[rank], range(1, 2)) as batches:
            return batches.batch(1)

    first, second = as_ranks(2, batch)
    for one in (first, second):
        assert one.examples == ("example 3", "instead of 4, 1", "example 5")
        assert one.positions == (3, 4, 5) and len(one.redrawn) == 1
    assert (first.own, second.own) == (range(2), range(2, 3))
    assert [prompt.name for prompt in first.prompts] == ["example 3", "instead of 4, 1"]
    assert [prompt.name for prompt in second.prompts] == ["example 5"]
    assert encoders[1].asked == ["example 5"]


def test_more_examples_are_the_next_of_the_order_and_the_next_step_begins_behind_them():
    encode = Encoder()
    with loader(encode, range(2, 5)) as batches:
        assert batches.state(2) == {}, "the two steps before took three each"
        first = batches.batch(2)
        assert first.positions == (6, 7, 8) and batches.state(3) == {}
        more = first.more([0, 2])
        assert (more.positions, more.step, more.own) == ((9, 10), 2, range(2))
        assert more.examples == ("example 9", "example 10")
        assert [prompt.name for prompt in more.prompts] == list(more.examples)
        assert more.more([1]).positions == (11,)
        assert batches.state(3) == {"data_position": 12}
        assert batches.state(2) == {}, "a step in work has taken nothing yet"
        assert batches.batch(3).positions == (12, 13, 14)
        assert batches.state(3) == {"data_position": 12}
        assert batches.batch(4).positions == (15, 16, 17)
        assert batches.more([2]).positions == (18,), "also behind the last step"
    assert sorted(encode.asked) == sorted(f"example {i}" for i in range(6, 19)), "each once"


def test_a_run_that_goes_on_begins_where_its_checkpoint_says():
    state = {"step": 2, "data_position": 11}
    with BatchLoader("example {}".format, None, Encoder(), 3, range(2, 4), state) as batches:
        assert batches.state(2) == {"data_position": 11}
        assert batches.batch(2).positions == (11, 12, 13)
        assert batches.state(3) == {"data_position": 14}


def test_a_row_among_more_that_cannot_be_read_is_redrawn_and_warned_about(capsys):
    with loader(Encoder(fails_at=("example 4",)), range(3)) as batches:
        more = batches.batch(0).more([0, 1])
        assert more.examples == ("example 3", "instead of 4, 0") and len(more.redrawn) == 1
    assert "warning: step 1: a row is redrawn, instead of 4, 0" in capsys.readouterr().err


def test_each_process_encodes_what_its_own_places_are_filled_with():
    encoders = [Encoder() for _ in range(3)]

    def drawn(rank):
        with loader(encoders[rank], range(3), size=5) as batches:  # of places 2, 2 and 1
            found = [batches.batch(0)]
            found += [found[0].more(places) for places in ([1, 2, 3], [4], [0, 1])]
            return [*found, batches.batch(1)]

    ranks = as_ranks(3, drawn)
    for found in ranks:
        assert [one.positions[0] for one in found] == [0, 5, 8, 9, 11]
        assert found[1].examples == ("example 5", "example 6", "example 7")
    owns = [[list(one.own) for one in found] for found in ranks]
    assert owns == [
        [[0, 1], [0], [], [0, 1], [0, 1]],
        [[2, 3], [1, 2], [], [], [2, 3]],
        [[4], [], [0], [], [4]],
    ]
    for found in ranks:
        for one in found:
            assert [p.name for p in one.prompts] == [one.examples[index] for index in one.own]
