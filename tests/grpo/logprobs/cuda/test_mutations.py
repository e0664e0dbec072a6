"""Mistakes planted in the kernels, and the check that sees each: what the emulated tests are worth.

A mutation is an edit of logprobs.cu's text. The shipped file passes every check
(test_kernels.py). One mistake of this kind stays unseen on a CPU: __fmul_rn instead of a
product that the compiler may fuse, because g++ is told not to fuse.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from grpo.logprobs.cuda.compiler import source_code
from tests.grpo.logprobs.cuda.emulator import require_gxx
from tests.grpo.logprobs.cuda.kernel_checks import CHECKS, run_check

pytestmark = pytest.mark.command


@dataclass(frozen=True)
class Mutation:
    """Replaces `old`, which stands in the file `count` times, by `new`."""

    old: str
    new: str
    caught_by: str  # a check of kernel_checks.py
    says: str | None = None  # what the check's error matches, where a process dies of it
    count: int = 1
    order: str = "ascending"


COLUMNS = "a_dominating_logit_counts_at_every_column"
GRADIENT = "the_gradient_is_right_at_every_column"
WIDTHS = "blocks_fit_every_width"
TILES = "tiles_of_a_row_add_up"
SEGFAULT = r"ended with -(7|11):"  # SIGBUS or SIGSEGV, by their numbers on Linux

QUICKLY = ("-O0",)  # half the time to compile

MUTATIONS = {
    # ---- threads: the barrier in the orders in which warp 0 comes before another
    "no barrier, warps ascending": Mutation("    __syncthreads();\n", "", WIDTHS),
    "no barrier, warps at random": Mutation("    __syncthreads();\n", "", WIDTHS, order="random"),
    "a shuffle that starts at half its width": Mutation("= WARP / 2;", "= WARP / 4;", COLUMNS),
    "a shuffle that ends too early": Mutation("distance > 0;", "distance > 1;", COLUMNS),
    "a warp left out": Mutation(
        "lane < (int)blockDim.x / WARP ?", "lane < (int)blockDim.x / WARP - 1 ?", COLUMNS
    ),
    "states of warps that are not there": Mutation(
        "lane < (int)blockDim.x / WARP ? of_warps[lane] : empty_state()", "of_warps[lane]", COLUMNS
    ),
    # ---- how a row is cut
    "a tail read past the row": Mutation(
        "(int)threadIdx.x < cut.tail) {\n        z",
        "(int)threadIdx.x <= cut.tail) {\n        z",
        COLUMNS,
    ),
    "a tail written past the row": Mutation(
        "(int)threadIdx.x < cut.tail) {\n        int",
        "(int)threadIdx.x <= cut.tail) {\n        int",
        GRADIENT,
    ),
    "a tail column skipped": Mutation(
        "tail = columns - head -", "tail = columns - 1 - head -", COLUMNS
    ),
    "a tail column skipped backward": Mutation(
        "(int)threadIdx.x < cut.tail) {\n        int",
        "(int)threadIdx.x < cut.tail - 1) {\n        int",
        GRADIENT,
    ),
    "a head column skipped": Mutation(
        "(int)threadIdx.x < cut.head) {\n        z",
        "(int)threadIdx.x < cut.head - 1) {\n        z",
        COLUMNS,
    ),
    "the last vector skipped": Mutation(
        "if (vector < cut.vectors)", "if (vector + 1 < cut.vectors)", COLUMNS
    ),
    "passes that overlap": Mutation(
        "first += blockDim.x * (VALUES_PER_PASS / Cut<Element>::WIDTH))",
        "first += blockDim.x)",
        COLUMNS,
    ),
    "a head longer than the row": Mutation(
        "        head = head < columns ? head : columns;\n", "", WIDTHS
    ),
    "a head not peeled": Mutation(
        "past ? WIDTH - past : 0",
        "0",
        "vectors_are_aligned",
        says="misaligned address|ended with -11:",
    ),
    "vectors loaded behind the row": Mutation(
        "if (vector < cut.vectors) {\n            load(",
        "load(row + cut.head + (int64)vector * WIDTH, z + part * WIDTH);\n"
        "        if (vector < cut.vectors) {\n            load(",
        "nothing_is_read_outside",
        says=SEGFAULT,
    ),
    "offsets of 32 bits": Mutation(
        "row = tile + token * stride;",
        "row = tile + (int)(token * stride);",
        "offsets_have_64_bits",
        count=2,
    ),
    # ---- the running state
    "a total not rescaled": Mutation("state.total * rescale,", "state.total,", COLUMNS),
    "a moment not rescaled": Mutation(
        "(state.moment + state.total * rise) * rescale",
        "state.moment + state.total * rise",
        COLUMNS,
    ),
    "a moment not referred to the new maximum": Mutation(
        "(state.moment + state.total * rise) * rescale", "state.moment * rescale", COLUMNS
    ),
    "a fold that keeps its old maximum": Mutation(
        "    state = raised<ENTROPY>(state, top);\n#pragma unroll\n",
        "    state.top = top;\n",
        COLUMNS,
    ),
    "0 * -inf in the entropy": Mutation("e == 0.0f ? 0.0f : e * shifted", "e * shifted", COLUMNS),
    "an empty state at -inf": Mutation(
        "{LOWEST, 0.0f, 0.0f}", "{minus_infinity(), 0.0f, 0.0f}", TILES
    ),
    "each tile the first": Mutation("if (!is_first) {", "if (false) {", TILES),
    "no tile the first": Mutation("if (!is_first) {", "if (true) {", COLUMNS),
    "a target forgotten by the next tile": Mutation("} else if (is_first) {", "} else {", TILES),
    "NaN dropped": Mutation(
        "state.total += e;",
        "state.total += e == e ? e : 0.0f;",
        "nan_and_infinity_stay_visible_in_their_row",
    ),
    # ---- the temperature
    "no 1/T at all": Mutation(
        "return __fmul_rn(logit, inverse_temperature);", "return logit;", "the_temperature_divides"
    ),
    "no 1/T in the vectors": Mutation("z[i] = scaled(z[i], inverse_temperature);", "{}", COLUMNS),
    "no 1/T in the head": Mutation(
        "z[0] = scaled(to_float(row[threadIdx.x]), inverse_temperature);",
        "z[0] = to_float(row[threadIdx.x]);",
        COLUMNS,
    ),
    "no 1/T at the target": Mutation(
        "picked[token] = scaled(to_float(row[column]), inverse_temperature);",
        "picked[token] = to_float(row[column]);",
        COLUMNS,
    ),
    "no 1/T in the log-prob's gradient": Mutation(
        "grad_logprobs[token] * inverse_temperature", "grad_logprobs[token]", GRADIENT
    ),
    "no 1/T in the entropy's gradient": Mutation(
        "grad_entropies[token] * inverse_temperature", "grad_entropies[token]", GRADIENT
    ),
    # ---- targets and rows
    "a target one column too far": Mutation(
        "int64 column = target - start;", "int64 column = target - start + 1;", COLUMNS
    ),
    "a target's gradient one column too far": Mutation(
        "target_column = target - start;", "target_column = target - start + 1;", GRADIENT
    ),
    "a target outside its tile": Mutation(
        "int64 column = target - start;", "int64 column = target;", TILES
    ),
    "a target's gradient in every tile": Mutation(
        "target_column = target - start;",
        "target_column = target;",
        "the_gradient_of_a_tile_knows_its_columns",
    ),
    "a tile's first target missed": Mutation("if (column >= 0 &&", "if (column > 0 &&", COLUMNS),
    "a target behind the row": Mutation(
        "column < columns) {\n        p",
        "column <= columns) {\n        p",
        "a_bad_target_gives_nan",
    ),
    "a target cut to 32 bits": Mutation(
        "int64 column = target - start;",
        "int64 column = (int)(target - start);",
        "a_bad_target_gives_nan",
    ),
    "a banned target": Mutation(
        "if (picked[token] == minus_infinity()) logprob = not_a_number();",
        "",
        "a_bad_target_gives_nan",
    ),
    "an ignored row read": Mutation(
        "    if (target == ignored) return;  // the whole block\n",
        "",
        "nothing_is_read_outside",
        says=SEGFAULT,
    ),
    "an ignored row finished": Mutation(
        "if (targets[token] != ignored) {", "{", "ignored_rows_are_zero"
    ),
    "an ignored row's gradient": Mutation(
        "if (target == ignored) {", "if (false) {", "ignored_rows_are_zero"
    ),
    # ---- what is written
    "0 * -inf in the entropy's gradient": Mutation(
        "p == 0.0f ? 0.0f : of_entropy * (log_p + entropy)",
        "of_entropy * (log_p + entropy)",
        "banned_columns_are_nothing",
    ),
    "an absent gradient taken for 1": Mutation(
        "grad_logprobs ? grad_logprobs[token] * inverse_temperature : 0.0f",
        "grad_logprobs ? grad_logprobs[token] * inverse_temperature : 1.0f",
        "an_absent_gradient_is_zero",
    ),
    "NaN rounded like a number": Mutation(
        "if (value != value) {", "if (false) {", "bf16_is_rounded_to_nearest_even"
    ),
    "ties rounded up": Mutation("((bits >> 16) & 1u)", "1u", "bf16_is_rounded_to_nearest_even"),
    "bf16 cut off": Mutation(
        "(bits + 0x7fffu + ((bits >> 16) & 1u))", "bits", "bf16_is_rounded_to_nearest_even"
    ),
}


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory) -> Path:
    require_gxx()
    return tmp_path_factory.mktemp("mutants")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_is_caught(name, build_dir, tmp_path):
    mutation, text = MUTATIONS[name], source_code().decode()
    assert text.count(mutation.old) == mutation.count, "logprobs.cu has changed: renew the mutation"
    mutant = tmp_path / "mutant.cu"
    mutant.write_text(text.replace(mutation.old, mutation.new))
    with pytest.raises(AssertionError, match=mutation.says):
        run_check(mutation.caught_by, mutant, mutation.order, build_dir, QUICKLY)


def test_a_missing_barrier_passes_in_one_order(build_dir, tmp_path):
    # why the shipped file is run in three
    mutant = tmp_path / "mutant.cu"
    mutant.write_text(re.sub(r" +__syncthreads\(\);\n", "", source_code().decode()))
    run_check(WIDTHS, mutant, "descending", build_dir, QUICKLY)


def test_every_mutation_names_a_check():
    assert {mutation.caught_by for mutation in MUTATIONS.values()} <= set(CHECKS)
