"""What the row kernels of logprobs.cu must do, one by one, as functions of an emulator.

A check raises AssertionError. The shipped file passes all of them in every order of threads
(test_kernels.py); each mutant fails the one that is named for it (test_mutations.py).

Launches come from grpo/logprobs/cuda/rows.py. Behind every row of a tile lies NaN, so that what is
read past it shows, and memory that nobody has written to is NaN too.

Shapes in this file: B tokens and K columns of a tile.
"""

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from grpo.logprobs.cuda.launch import Launch, Launcher, pointer
from grpo.logprobs.cuda.rows import KernelRows, backward_launch, kernel_backend
from grpo.logprobs.tile_plan import TilePlan
from grpo.logprobs.tiles import RowsForBackward
from tests.grpo.logprobs.cuda.emulator import Emulator, guarded_tensor
from tests.places import ROOT

FP32, BF16 = torch.float32, torch.bfloat16
CPU = torch.device("cpu")
ELEMENTS = (FP32, BF16)  # of a tile that is read
GRADIENTS = ((FP32, FP32), (FP32, BF16), (BF16, BF16))  # tile and gradient that is written
T = 0.7  # where nothing else is asked for: with 1, a temperature left out would not show
# Columns, elements from row to row, threads (None: as many as the product takes). 33 and 1,003 are
# odd: rows begin at every place modulo 16 bytes. 32 threads take 1,003 columns in several passes.
SHAPES = ((33, 33, None), (33, 38, None), (1003, 1003, None), (1003, 1009, 32))
TOLERANCE = 5e-5  # the bar of an fp32 tile; a bf16 tile is compared on its own rounded logits


# ---- launches and the truth ----------------------------------------------------------------------


@contextmanager
def new_memory_is_nan() -> Iterator[None]:
    """Let torch.empty and its kin give NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def padded(values: Tensor, stride: int | None = None) -> tuple[Tensor, Tensor]:
    """Return a copy (B, K) with rows `stride` apart, and the NaN between and behind them."""
    num_rows, columns = values.shape
    stride = stride or columns
    buffer = torch.full((num_rows + 1, stride), torch.nan, dtype=values.dtype)
    tile = buffer[:-1, :columns]
    tile.copy_(values)
    return tile, buffer


def assert_padding_untouched(buffer: Tensor, columns: int) -> None:
    assert buffer[:, columns:].isnan().all(), "written to between two rows"
    assert buffer[-1].isnan().all(), "written to behind the last row"


def plan_of(tile: Tensor, temperature: float, with_entropy: bool, ignore_index: int) -> TilePlan:
    num_rows, columns = tile.shape
    shape = (num_rows, columns, num_rows, columns)
    return TilePlan(*shape, tile.dtype, temperature, with_entropy, (), ignore_index)


def with_threads(emulator: Launcher, block: int | None) -> Launcher:
    """Return a launcher that walks along rows with `block` threads."""
    if block is None:
        return emulator

    def launcher(launch: Launch, device: torch.device) -> None:
        # finalise has one thread per row, and as many blocks as that takes
        emulator(launch if launch.kernel == "finalise" else replace(launch, block=block), device)

    return launcher


def forward(
    emulator: Launcher,
    *tiles: Tensor,
    targets: Tensor,
    temperature: float = T,
    with_entropy: bool = True,
    ignore_index: int = -100,
    block: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probs, entropies and log-sum-exps (B,) of tiles that follow each other."""
    plan = plan_of(tiles[0], temperature, with_entropy, ignore_index)
    start = 0
    with new_memory_is_nan():
        rows = KernelRows(targets, plan, with_threads(emulator, block))
        for tile in tiles:
            rows.fold(tile, start)
            start += tile.shape[1]
        return rows.finish()


def backward(
    emulator: Launcher,
    values: Tensor,
    rows: RowsForBackward,
    dtype: torch.dtype,
    *,
    stride: int | None = None,
    start: int = 0,
    temperature: float = T,
    ignore_index: int = -100,
    block: int | None = None,
) -> Tensor:
    """Return the gradient (B, K) of logits, after a look at the memory around it."""
    columns = values.shape[1]
    tile, buffer = padded(values, stride)
    plan = plan_of(tile, temperature, rows.grad_entropy is not None, ignore_index)
    launcher = with_threads(emulator, block)
    with new_memory_is_nan():
        if tile.is_contiguous() or dtype == tile.dtype:
            out = kernel_backend(launcher).grad_logits(tile, start, rows, plan, dtype)
        else:  # the product has no such tiles, and so no such room for what is written
            out, buffer = padded(torch.full_like(values, torch.nan, dtype=dtype), stride)
            launch, _ = backward_launch(tile, start, rows, plan, dtype)
            launcher(writing_to(out, launch), CPU)
    assert_padding_untouched(buffer, columns)
    assert out.dtype == dtype
    return out


def writing_to(out: Tensor, launch: Launch) -> Launch:
    arguments = (launch.arguments[0], pointer(out), *launch.arguments[2:])
    return replace(launch, arguments=arguments)


def truth(
    logits: Tensor, targets: Tensor, temperature: float = T
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log-probs, entropies, log-sum-exps (B,) and log p (B, K) in float64."""
    z = logits.double() / temperature
    log_p = z.log_softmax(dim=1)
    logprobs = log_p.gather(1, targets[:, None])[:, 0]
    return logprobs, torch.special.entr(log_p.exp()).sum(dim=1), z.logsumexp(dim=1), log_p


def true_gradient(
    logits: Tensor, rows: RowsForBackward, start: int, stop: int, temperature: float = T
) -> Tensor:
    """Return columns [start, stop) of the gradient of all logits in float64, in closed form."""
    _, entropy, _, log_p = truth(logits, rows.targets, temperature)
    p = log_p.exp()
    gradient = torch.zeros_like(p)
    if rows.grad_logprobs is not None:
        chosen = torch.zeros_like(p).scatter_(1, rows.targets[:, None], 1.0)
        gradient += rows.grad_logprobs.double()[:, None] * (chosen - p)
    if rows.grad_entropy is not None:
        pull = torch.where(p == 0, 0.0, log_p + entropy[:, None])
        gradient -= rows.grad_entropy.double()[:, None] * p * pull
    return gradient[:, start:stop] / temperature


def rows_for_backward(
    logits: Tensor, targets: Tensor, with_entropy: bool, temperature: float = T
) -> RowsForBackward:
    _, entropy, lse, _ = truth(logits, targets, temperature)
    upstream = torch.randn(2, len(targets), generator=seeded(len(targets)))
    return RowsForBackward(
        targets,
        lse.float(),
        entropy.float() if with_entropy else None,
        upstream[0] if with_entropy else None,
        upstream[1],
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(num_rows: int, columns: int, dtype: torch.dtype, height: float) -> Tensor:
    """Return logits (B, K) where one stands out: column i in row i, and from 0 on again."""
    logits = 2 * torch.randn(num_rows, columns, generator=seeded(columns))
    logits[torch.arange(num_rows), torch.arange(num_rows) % columns] = height
    return logits.to(dtype)


def random_targets(num_rows: int, columns: int) -> Tensor:
    return torch.randint(columns, (num_rows,), generator=seeded(num_rows + columns))


def assert_near(actual: Tensor, expected: Tensor, atol: float = TOLERANCE, rtol: float = 0) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), atol=atol, rtol=rtol)


def assert_gradient(actual: Tensor, expected: Tensor) -> None:
    rounding = 2**-8 if actual.dtype == BF16 else 1e-5
    assert_near(actual, expected, atol=1e-5, rtol=rounding)


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype
    bits = {FP32: torch.int32, BF16: torch.int16}[actual.dtype]
    assert torch.equal(actual.view(bits), expected.view(bits)), "other bits"


def all_outputs(emulator: Launcher) -> list[Tensor]:
    """Return what every kernel writes, each launched as the product launches it."""
    outputs = []
    for with_entropy in (False, True):
        for dtype in ELEMENTS:
            logits = planted(7, 1003, dtype, 9.0)
            targets = random_targets(7, 1003)
            tiles = logits[:, :600].contiguous(), logits[:, 600:].contiguous()
            outputs += forward(emulator, *tiles, targets=targets, with_entropy=with_entropy)
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(7, 1003, tile_dtype, 9.0)
            rows = rows_for_backward(logits, random_targets(7, 1003), with_entropy)
            outputs.append(backward(emulator, logits, rows, dtype))
    return outputs


# ---- every column, every shape -------------------------------------------------------------------


def check_a_dominating_logit_counts_at_every_column(emulator: Launcher) -> None:
    for columns, stride, block in SHAPES:
        for dtype in ELEMENTS:
            logits = planted(columns, columns, dtype, 14.0)
            tile, buffer = padded(logits, stride)
            targets = random_targets(columns, columns)
            targets[::2] = torch.arange(columns)[::2]  # the dominating ones themselves
            expected = truth(logits, targets)
            for with_entropy in (False, True):
                outputs = forward(
                    emulator, tile, targets=targets, with_entropy=with_entropy, block=block
                )
                assert_near(outputs[0], expected[0])
                assert_near(outputs[2], expected[2])
                if with_entropy:
                    assert_near(outputs[1], expected[1])
            assert_padding_untouched(buffer, columns)


def check_the_gradient_is_right_at_every_column(emulator: Launcher) -> None:
    for columns, stride, block in SHAPES:
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(columns, columns, tile_dtype, 5.0)
            targets = columns - 1 - torch.arange(columns)
            for with_entropy in (False, True):
                rows = rows_for_backward(logits, targets, with_entropy)
                expected = true_gradient(logits, rows, 0, columns)
                actual = backward(emulator, logits, rows, dtype, stride=stride, block=block)
                assert_gradient(actual, expected)


def check_a_target_counts_at_every_column(emulator: Launcher) -> None:
    for columns in (33, 1003):
        for tile_dtype, dtype in GRADIENTS:
            logits = torch.zeros(columns, columns, dtype=tile_dtype)
            targets = torch.arange(columns)
            # p is 1e-5 of its usual size: all that is left is 1 at the target
            rows = RowsForBackward(
                targets, torch.full((columns,), 20.0), None, None, torch.full((columns,), T)
            )
            gradient = backward(emulator, logits, rows, dtype)
            assert_near(gradient, torch.eye(columns), atol=1e-6)


def check_blocks_fit_every_width(emulator: Launcher) -> None:
    blocks = []

    def noting_blocks(launch: Launch, device: torch.device) -> None:
        if launch.kernel != "finalise":
            blocks.append(launch.block)
        emulator(launch, device)

    for columns in (1, 2, 31, 32, 33, 511, 512, 513, 1024, 5000, 16_384, 16_385, 20_000):
        for tile_dtype, dtype in GRADIENTS:
            logits = torch.randn(4, columns, generator=seeded(columns)).to(tile_dtype)
            # standing out: first, last, and what the last warp and the second pass begin with
            places = torch.tensor([0, columns - 1, columns * 31 // 32, 16_384 % columns])
            logits[torch.arange(4), places] = 12.0
            blocks.clear()
            outputs = forward(noting_blocks, logits, targets=places)
            for output, expected in zip(outputs, truth(logits, places), strict=False):
                assert_near(output, expected)
            rows = rows_for_backward(logits, places, with_entropy=True)
            gradient = backward(noting_blocks, logits, rows, dtype)
            assert_gradient(gradient, true_gradient(logits, rows, 0, columns))
            (block,) = set(blocks)
            assert block % 32 == 0
            assert block == 1024 or (block - 32) * 16 < columns <= block * 16


def check_offsets_have_64_bits(emulator: Launcher) -> None:
    stride, columns = 2**30, 33  # elements; the last of three rows begins at 2**31
    base = stride * 2  # so that an offset of -2**31 is memory too, of zeros
    # of these 8 GiB only the pages that are written to exist
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, (base + 2 * stride) * BF16.itemsize + mmap.PAGESIZE, flags)
    elements = torch.frombuffer(memory, dtype=BF16)
    tile = elements.as_strided((3, columns), (stride, 1), base)
    logits = planted(3, columns, BF16, 9.0)
    tile.copy_(logits)
    targets = torch.tensor([0, 16, 32])
    for output, expected in zip(
        forward(emulator, tile, targets=targets), truth(logits, targets), strict=False
    ):
        assert_near(output, expected)
    rows = rows_for_backward(logits, targets, with_entropy=True)
    plan = plan_of(tile, T, True, -100)
    gradient = kernel_backend(emulator).grad_logits(tile, 0, rows, plan, BF16)
    assert_gradient(gradient, true_gradient(logits, rows, 0, columns))


# ---- several tiles -------------------------------------------------------------------------------


def check_tiles_of_a_row_add_up(emulator: Launcher) -> None:
    edges = (0, 33, 34, 70, 97)
    spans = list(pairwise(edges))
    targets = torch.arange(97)
    for dtype in ELEMENTS:
        for banned in (None, *spans):
            logits = planted(97, 97, dtype, 9.0)
            if banned:
                logits[:, slice(*banned)] = -torch.inf  # among them: the first tile, and the last
            tiles = [padded(logits[:, slice(*span)], 40)[0] for span in spans]
            allowed = ~logits.gather(1, targets[:, None])[:, 0].isinf()
            for with_entropy in (False, True):
                outputs = forward(emulator, *tiles, targets=targets, with_entropy=with_entropy)
                expected = truth(logits, targets)
                assert outputs[0][~allowed].isnan().all(), "the log-prob of a banned target"
                assert_near(outputs[0][allowed], expected[0][allowed])
                assert_near(outputs[2], expected[2])
                if with_entropy:
                    assert_near(outputs[1], expected[1])


def check_the_gradient_of_a_tile_knows_its_columns(emulator: Launcher) -> None:
    edges = (0, 33, 34, 70, 97)
    for tile_dtype, dtype in GRADIENTS:
        logits = planted(97, 97, tile_dtype, 5.0)
        rows = rows_for_backward(logits, torch.arange(97), with_entropy=True)
        for start, stop in pairwise(edges):
            actual = backward(
                emulator, logits[:, start:stop], rows, dtype, start=start, stride=stop - start + 3
            )
            assert_gradient(actual, true_gradient(logits, rows, start, stop))


def check_banned_columns_are_nothing(emulator: Launcher) -> None:
    for tile_dtype, dtype in GRADIENTS:
        logits = planted(40, 53, tile_dtype, 9.0)
        logits[:, 2:5] = logits[:, 20:41] = logits[:, 52] = -torch.inf
        targets = torch.tensor([0, 1, 5, 19, 41, 51, 42, 43]).repeat(5)
        outputs = forward(emulator, logits, targets=targets)
        for output, expected in zip(outputs, truth(logits, targets), strict=False):
            assert_near(output, expected)
        rows = rows_for_backward(logits, targets, with_entropy=True)
        gradient = backward(emulator, logits, rows, dtype)
        assert_gradient(gradient, true_gradient(logits, rows, 0, 53))
        assert (gradient[logits.isinf()] == 0).all()


# ---- rows of their own kind ----------------------------------------------------------------------


def check_ignored_rows_are_zero(emulator: Launcher) -> None:
    is_ignored = torch.arange(12) % 3 == 1
    for ignore_index in (-100, 0, 7):
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(12, 41, tile_dtype, 9.0)
            targets = 10 + torch.arange(12)
            expected = truth(logits, targets)
            rows = rows_for_backward(logits, targets, with_entropy=True)
            true = true_gradient(logits, rows, 0, 41)
            logits[is_ignored] = torch.nan
            rows.lse[is_ignored] = rows.entropy[is_ignored] = torch.nan
            rows.grad_logprobs[is_ignored] = rows.grad_entropy[is_ignored] = torch.nan
            targets[is_ignored] = ignore_index  # rows holds the same tensor
            outputs = forward(
                emulator, logits[:, :20], logits[:, 20:], targets=targets, ignore_index=ignore_index
            )
            for output, value in zip(outputs, expected, strict=False):
                assert (output[is_ignored] == 0).all()
                assert_near(output[~is_ignored], value[~is_ignored])
            gradient = backward(emulator, logits, rows, dtype, ignore_index=ignore_index, stride=44)
            assert (gradient[is_ignored] == 0).all()
            assert_gradient(gradient[~is_ignored], true[~is_ignored])


def check_a_bad_target_gives_nan(emulator: Launcher) -> None:
    columns = 37
    bad = torch.tensor([columns, columns + 7, -1, 2**40, -(2**40), 2**32 + 3, 2**63 - 1, 5])
    targets = torch.cat([bad, torch.arange(8)])
    targets[13] = 6  # 5 is banned
    for dtype in ELEMENTS:
        logits = planted(16, columns, dtype, 9.0)
        logits[:, 5] = -torch.inf
        expected = truth(logits, targets.clamp(0, columns - 1))
        # here what lies between the rows are numbers: to read one would not give NaN
        between = torch.zeros(16, 9, dtype=dtype)
        tile = torch.cat([between, logits, between], dim=1)[:, 9:-9]
        for tiles in ([tile], [tile[:, :20], tile[:, 20:]]):
            logprobs, entropies, lses = forward(emulator, *tiles, targets=targets)
            assert logprobs.isnan().tolist() == [True] * 8 + [False] * 8
            assert_near(logprobs[8:], expected[0][8:])
            assert_near(entropies, expected[1])
            assert_near(lses, expected[2])


def check_nan_and_infinity_stay_visible_in_their_row(emulator: Launcher) -> None:
    for columns in (33, 523):
        for dtype in ELEMENTS:
            logits = planted(columns, columns, dtype, 9.0)
            targets = (torch.arange(columns) + 1) % columns
            # at every column in turn, between rows that stay clean
            even = torch.arange(0, columns, 2)
            for value in (torch.nan, torch.inf):
                bad = logits.clone()
                bad[even, even] = value
                cut = columns // 2
                tiles = [padded(part, 600)[0] for part in (bad[:, :cut], bad[:, cut:])]
                outputs = forward(emulator, *tiles, targets=targets)
                assert outputs[0][even].isnan().all()
                assert outputs[1][even].isnan().all()
                assert not outputs[2][even].isfinite().any()
                for output, expected in zip(outputs, truth(logits, targets), strict=False):
                    assert_near(output[1::2], expected[1::2])


def check_nan_stays_visible_in_the_gradient(emulator: Launcher) -> None:
    is_bad = torch.arange(33) % 2 == 0
    for tile_dtype, dtype in GRADIENTS:
        logits = planted(33, 33, tile_dtype, 9.0)
        rows = rows_for_backward(logits, torch.arange(33), with_entropy=True)
        expected = true_gradient(logits, rows, 0, 33)
        for name in ("lse", "entropy", "grad_entropy", "grad_logprobs"):
            poisoned = getattr(rows, name).masked_fill(is_bad, torch.nan)
            gradient = backward(emulator, logits, replace(rows, **{name: poisoned}), dtype)
            is_none = expected[is_bad].abs() < 1e-30  # p = 0 leaves nothing to multiply by
            assert (gradient[is_bad].isnan() | is_none).all()
            assert_gradient(gradient[~is_bad], expected[~is_bad])
        logits[torch.arange(33), torch.arange(33)] = torch.nan
        gradient = backward(emulator, logits, rows, dtype)
        assert torch.equal(gradient.isnan(), torch.eye(33, dtype=torch.bool))


# ---- numbers -------------------------------------------------------------------------------------


def check_no_logprob_is_above_zero(emulator: Launcher) -> None:
    scales = torch.tensor([1.0, 10.0, 100.0, 1e3, 1e4, 1e6]).repeat_interleave(20)[:, None]
    logits = torch.randn(len(scales), 70, generator=seeded(0)) * scales
    for dtype in ELEMENTS:
        rounded = logits.to(dtype)
        targets = rounded.argmax(dim=1)
        tiles = rounded[:, :33].contiguous(), rounded[:, 33:].contiguous()
        for temperature in (0.1, 0.7, 1.0, 2.0, 1e-30, 1e30):
            options = {"targets": targets, "temperature": temperature, "with_entropy": False}
            for logprobs, _, _ in (
                forward(emulator, rounded, **options),
                forward(emulator, *tiles, **options),
            ):
                assert (logprobs <= 0).all(), f"{logprobs.max()} at temperature {temperature}"


def check_the_temperature_divides(emulator: Launcher) -> None:
    for temperature in (0.1, 1.0, 2.0):
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(16, 75, tile_dtype, 3.0) * temperature
            targets = random_targets(16, 75)
            outputs = forward(emulator, logits, targets=targets, temperature=temperature)
            expected = truth(logits, targets, temperature)
            for output, value in zip(outputs, expected, strict=False):
                assert_near(output, value)
            rows = rows_for_backward(logits, targets, True, temperature)
            gradient = backward(emulator, logits, rows, dtype, temperature=temperature)
            true = true_gradient(logits, rows, 0, 75, temperature)
            assert_near(gradient, true, atol=1e-5 / temperature, rtol=2**-8)


def check_repeats_are_bitwise_equal(emulator: Launcher) -> None:
    for first, second in zip(all_outputs(emulator), all_outputs(emulator), strict=True):
        assert_same_bits(first, second)


def check_bf16_is_rounded_to_nearest_even(emulator: Launcher) -> None:
    # Where z = log-sum-exp, p is 1 and minus the upstream gradient is what is stored.
    ones = torch.arange(0x3F7E, 0x3F84) << 16
    ties = torch.cat([ones + offset for offset in (0x7FFF, 0x8000, 0x8001)])
    special = [0x00000000, 0x7F800000]  # 0, inf
    special += [0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF]  # the largest: two overflow, one does not
    special += [0x00000001, 0x00007FFF, 0x00008000, 0x00018000, 0x007FFFFF]  # denormal
    special += [0x7FC00000, 0x7FFFFFFF, 0x7F800001, 0x7FFF8000]  # NaN
    random = torch.randint(0, 2**31, (300,), generator=seeded(0))
    bits = torch.cat([ties, torch.tensor(special), random])
    bits = torch.cat([bits, bits - 2**31]).to(torch.int32)  # and with the sign set
    values = bits.view(FP32)
    zeros = torch.zeros(len(values))
    outside = torch.zeros(len(values), dtype=torch.int64)
    for tile_dtype in ELEMENTS:
        logits = torch.zeros(len(values), 13, dtype=tile_dtype)  # head, vectors and tail
        rows = RowsForBackward(outside, zeros, None, None, -values)
        actual = backward(emulator, logits, rows, BF16, start=1, temperature=1.0)
        expected = values.bfloat16()[:, None].expand_as(actual).contiguous()
        assert torch.equal(actual.isnan(), expected.isnan())
        is_number = ~expected.isnan()
        assert_same_bits(actual[is_number], expected[is_number])


def check_an_absent_gradient_is_zero(emulator: Launcher) -> None:
    for tile_dtype, dtype in GRADIENTS:
        logits = planted(33, 41, tile_dtype, 5.0)
        for with_entropy in (False, True):
            rows = rows_for_backward(logits, random_targets(33, 41), with_entropy)
            zero = replace(rows, grad_logprobs=torch.zeros(33))
            absent = replace(rows, grad_logprobs=None)
            gradient = backward(emulator, logits, absent, dtype)
            assert_same_bits(gradient, backward(emulator, logits, zero, dtype))
            assert_gradient(gradient, true_gradient(logits, absent, 0, 41))


def check_in_place_equals_out_of_place(emulator: Launcher) -> None:
    for dtype in ELEMENTS:
        logits = planted(9, 1003, dtype, 5.0)
        for with_entropy in (False, True):
            rows = rows_for_backward(logits, random_targets(9, 1003), with_entropy)
            in_place = logits.clone()
            launch, out = backward_launch(
                in_place, 0, rows, plan_of(logits, T, with_entropy, -100), dtype
            )
            assert out is in_place
            emulator(launch, CPU)
            source, target = logits.clone(), torch.full_like(logits, torch.nan)
            arguments = (pointer(source), pointer(target), *launch.arguments[2:])
            emulator(replace(launch, arguments=arguments), CPU)
            assert_same_bits(in_place, target)
            assert_same_bits(source, logits)


# ---- in a process of their own -------------------------------------------------------------------


def check_nothing_is_read_outside(emulator: Launcher) -> None:
    """A read behind the last row, or of an ignored row, ends the process."""
    for columns in (3, 8, 33, 40, 523):
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(8, columns, tile_dtype, 5.0)
            targets = random_targets(8, columns)
            targets[0] = 2**40
            forward(emulator, guarded_tensor(logits), targets=targets)
            rows = rows_for_backward(logits, targets.clamp(max=columns - 1), with_entropy=True)
            plan = plan_of(logits, T, True, -100)
            launch, out = backward_launch(guarded_tensor(logits), 0, rows, plan, dtype)
            tile, out = guarded_tensor(logits), guarded_tensor(torch.zeros_like(logits).to(dtype))
            arguments = (pointer(tile), pointer(out), *launch.arguments[2:])
            emulator(replace(launch, arguments=arguments), CPU)

    stride = mmap.PAGESIZE // FP32.itemsize
    memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    tile = torch.frombuffer(memory, dtype=FP32).view(3, stride)[:, :33]
    forbid = ctypes.CDLL(None).mprotect
    address = ctypes.c_void_p(tile[1].data_ptr())
    assert forbid(address, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0  # 0: PROT_NONE
    forward(emulator, tile, targets=torch.tensor([1, -100, 2]))


def check_vectors_are_aligned(emulator: Launcher) -> None:
    """With the sanitizer in its code, undefined behaviour ends the process."""
    for columns, stride, _ in SHAPES:
        for tile_dtype, dtype in GRADIENTS:
            logits = planted(17, columns, tile_dtype, 5.0)
            targets = random_targets(17, columns)
            forward(emulator, padded(logits, stride)[0], targets=targets)
            rows = rows_for_backward(logits, targets, with_entropy=True)
            backward(emulator, logits, rows, dtype, stride=stride)


CHECKS: dict[str, Callable[[Launcher], None]] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}
# check -> flags of g++
ISOLATED = {
    "nothing_is_read_outside": (),
    "vectors_are_aligned": ("-fsanitize=alignment,undefined", "-fno-sanitize-recover=all"),
}


def run_check(
    name: str, source: Path, order: str, build_dir: Path, flags: tuple[str, ...] = ()
) -> None:
    """Run a check on a .cu file.

    Raises:
        AssertionError: the check says so, or its process has died.
        RuntimeError: the file does not compile, or a launch cannot be run to its end.
    """
    flags = (*flags, *ISOLATED.get(name, ()))
    emulator = Emulator(source, order=order, build_dir=build_dir, flags=flags)
    if name not in ISOLATED:
        CHECKS[name](emulator)
        return
    command = [sys.executable, "-m", __spec__.name, name, source, order, build_dir, *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    died = f"{name} ended with {process.returncode}:\n{process.stderr}"
    assert process.returncode == 0, died


def main(name: str, source: str, order: str, build_dir: str, *flags: str) -> None:
    # compiled already, with these flags
    CHECKS[name](Emulator(Path(source), order=order, build_dir=Path(build_dir), flags=flags))


if __name__ == "__main__":
    main(*sys.argv[1:])
