"""Functions of all completions of a step, asynchronous ones, and arguments of a user's own."""

# ruff: noqa: ARG001, ARG005 - a reward is known by its parameters, whether it uses them or not

import asyncio
import gc
import threading
from types import SimpleNamespace

import numpy
import pytest
import torch

from rewards import load_rewards, try_rewards
from rewards.bound import each
from rewards.calls import Calls

EXAMPLES = [SimpleNamespace(id=f"e{i}", options=("CT", "MRI"), answer="A", form="letter")
            for i in (0, 0, 1)]  # fmt: skip
TEXTS = ["a", "bb", "ccc"]


def score(function, texts=TEXTS, examples=EXAMPLES, **options):
    """Return what a function of one's own gives for some completions."""
    return load_rewards(["mine"], "think", own={"mine": function}, **options)["mine"](
        texts, examples
    )


def test_a_function_of_all_completions_is_called_once_with_lists_by_its_parameters_names():
    seen = []

    def lengths(mode, examples, completions):
        seen.append((mode, [example.id for example in examples], completions))
        return [len(text) for text in completions]

    assert score(lengths) == [1.0, 2.0, 3.0]
    assert seen == [("think", ["e0", "e0", "e1"], TEXTS)]
    assert score(lengths, [], []) == [] and len(seen) == 1  # a process without prompts


def test_the_one_at_a_time_form_may_call_its_parameters_otherwise():
    assert score(lambda text, row, way: len(text + row.id + way)) == [8, 9, 10]


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], (1.0, 2, True + 2), numpy.array([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0]),
     [torch.tensor(1), numpy.float32(2), numpy.array(3)]],
)  # fmt: skip
def test_lists_tuples_arrays_and_tensors_of_one_dimension_are_taken(values):
    found = score(lambda completions, examples, mode: values)
    assert found == [1.0, 2.0, 3.0] and {type(one) for one in found} == {float}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1.0], r"returned 1 values for 3 completions of examples \['e0', 'e1'\]"),
        ([], "returned 0 values for 3"),
        (None, "returned None for 3 completions .* one number for each: does it end without"),
        (1.0, r"returned 1\.0 for 3 completions"),
        ({"a": 1}, r"returned \{'a': 1\} for 3"),
        (torch.ones(3, 1), r"returned tensor.* for 3"),
        ([1.0, "2", 3.0], "returned '2' on example 'e0' for 'bb': it must return a finite number"),
        ([1.0, 2.0, float("nan")], "returned nan on example 'e1' for 'ccc'"),
        ([1.0, 2.0, [3.0]], r"returned \[3\.0\] on example 'e1'"),
        ([0, 0, 1e19], "returned 1e[+]19 on example 'e1' for 'ccc': times its weight 1"),
    ],
)
def test_a_list_of_another_length_or_with_what_is_no_number_is_named(values, told):
    with pytest.raises(ValueError, match=f"reward 'mine' {told}"):
        score(lambda completions, examples, mode: values)


def test_a_function_of_all_completions_that_fails_is_named_with_its_examples_and_line():
    def broken(completions, examples, mode):
        return [1 / 0 for _ in completions]

    told = r"reward 'mine' fails on 3 completions of examples \['e0', 'e1'\] \(ZeroDivisionError.*l"
    with pytest.raises(ValueError, match=told) as caught:
        score(broken)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# --- asynchronous -------------------------------------------------------------------------------


def test_asynchronous_functions_of_one_completion_run_side_by_side_and_keep_their_order():
    waiting = asyncio.Event()

    async def last_frees_the_others(completion, example, mode):
        if completion == "ccc":
            waiting.set()
        await waiting.wait()  # one after the other it would wait for ever
        return len(completion)

    assert score(last_frees_the_others) == [1.0, 2.0, 3.0]


def test_an_asynchronous_function_of_all_is_awaited():
    async def lengths(completions, examples, mode):
        await asyncio.sleep(0)
        return numpy.array([len(text) for text in completions])

    assert score(lengths) == [1.0, 2.0, 3.0]


def test_all_calls_share_one_event_loop_which_is_closed_in_the_end():
    loops = []

    async def which(completion, example, mode):
        loops.append(asyncio.get_running_loop())
        return 0

    with Calls() as calls:
        rewards = load_rewards(["a", "b"], "think", own={"a": which, "b": which}, calls=calls)
        for reward in (*rewards.values(), rewards["a"]):
            reward(TEXTS, EXAMPLES)
        assert len(loops) == 9 and len(set(loops)) == 1 and not loops[0].is_closed()
    assert loops[0].is_closed()
    rewards["a"](TEXTS, EXAMPLES)  # used again, there is another one
    calls.close()
    assert loops[-1].is_closed() and loops[-1] is not loops[0]
    assert not [thread for thread in threading.enumerate() if thread.name == "rewards"]


def test_without_a_block_the_loop_is_closed_with_the_last_function_that_uses_it():
    async def which(completion, example, mode):
        return 0

    reward = load_rewards(["mine"], "think", own={"mine": which})["mine"]
    reward(TEXTS, EXAMPLES)
    assert [thread for thread in threading.enumerate() if thread.name == "rewards"]
    del reward
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "rewards"]


def test_they_run_where_a_loop_runs_already_as_in_a_notebook():
    async def length(completion, example, mode):
        return len(completion)

    async def notebook():
        return score(length)

    assert asyncio.run(notebook()) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(2), TimeoutError(), None])
def test_the_first_asynchronous_one_that_fails_is_named_and_ends_the_others(error):
    ended = []

    async def fails(completion, example, mode):
        if completion == "bb":
            raise error or asyncio.CancelledError
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(completion)

    told = rf"reward 'mine' fails on example 'e0' \({type(error or RuntimeError()).__name__}"
    with pytest.raises(ValueError, match=told + ".*also for 'bb'"):
        score(fails)
    assert sorted(ended) == ["a", "ccc"]


def test_a_value_that_is_no_number_is_named_after_waiting_too():
    async def none(completion, example, mode):
        return None

    with pytest.raises(ValueError, match="returned None on example 'e0' for 'a'"):
        score(none)


@pytest.mark.parametrize("is_batch", [True, False])
def test_who_waits_looks_for_signals_and_nothing_runs_on(is_batch):
    ended = []

    async def endless():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(1)

    async def one(completion, example, mode):
        return await endless()

    async def batch(completions, examples, mode):
        return await endless()

    looks = []

    def pause():
        looks.append(1)
        if len(looks) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Calls(pause) as calls:
        score(batch if is_batch else one, calls=calls)
    assert len(ended) == (1 if is_batch else 3)


@pytest.mark.filterwarnings("error")
def test_a_signal_between_two_calls_leaves_nothing_unawaited():
    async def one(completion, example, mode):
        return 0

    looks = []

    def pause():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Calls(pause) as calls:
        score(one, calls=calls)
    gc.collect()


def test_an_interruption_that_an_asynchronous_function_raises_comes_out_as_it_is():
    async def interrupted(completion, example, mode):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(interrupted)


def test_the_trial_hands_all_its_texts_over_at_once():
    sizes = []

    def lengths(completions, examples, mode):
        sizes.append(len(completions))
        return [0] * len(completions)

    rewards = load_rewards(["mine"], "think", own={"mine": lengths})
    try_rewards(rewards, EXAMPLES, "think")
    assert sizes == [12]


def test_each_makes_lists_of_a_function_of_one():
    assert each(lambda text, example: text + example)(["a", "b"], ["x", "y"]) == ["ax", "by"]


# --- which form, which arguments ----------------------------------------------------------------


def scaled(completion, example, mode, scale, *, offset=0.0):
    return len(completion) * scale + offset


def scaled_all(completions, examples, mode, *, scale):
    return [len(text) * scale for text in completions]


@pytest.mark.parametrize("function", [scaled, scaled_all])
def test_arguments_reach_the_function_whose_table_has_them(function):
    assert score(function, arguments={"mine": {"scale": 2}}) == [2.0, 4.0, 6.0]


def test_what_has_a_default_may_be_left_away_and_what_takes_any_gets_all():
    def takes_any(completion, example, mode, **further):
        return sum(further.values())

    assert score(scaled, arguments={"mine": {"scale": 1, "offset": 0.5}}) == [1.5, 2.5, 3.5]
    assert score(takes_any, arguments={"mine": {"a": 1, "b": 2}}) == [3.0] * 3
    with pytest.raises(ValueError, match=r"has mode, which the function does not ask for"):
        score(takes_any, arguments={"mine": {"mode": 1}})


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (
            scaled,
            {},
            r"'mine' asks for scale, which nothing gives: write scale = \.\. below \[mine",
        ),
        (scaled_all, {}, "'mine' asks for scale, which nothing gives"),
        (scaled, {"mine": {"scale": 1, "of": 2}}, r"has of, which .* parameters: scale, offset\)"),
        (scaled, {"mine": {"scale": 1}, "other": {}}, "has other, which is no table of a reward"),
        (lambda c, e, m: 0, {"mine": {"x": 1}}, r"has x, which .* parameters: none\)"),
    ],
)
def test_arguments_that_nobody_asks_for_or_gives_are_named(function, arguments, told):
    with pytest.raises(ValueError, match=told):
        score(function, arguments=arguments)


def test_ours_ask_for_nothing():
    with pytest.raises(ValueError, match=r"table \[accuracy\] .* has parse, which"):
        load_rewards(["accuracy"], "think", arguments={"accuracy": {"parse": 1}})


@pytest.mark.parametrize(
    "function",
    [
        lambda completions, mode: 0,
        lambda completions, example, mode: 0,
        lambda examples, completion, mode: 0,
        lambda completions, examples: 0,
    ],
)
def test_half_of_the_form_for_all_completions_is_a_mistake(function):
    with pytest.raises(ValueError, match=r"cannot be called as fn\(completions, examples, mode\)"):
        score(function)
