"""Memory that runs out in a micro-batch: the pass is run anew with smaller ones, to the bit.

An allocation that fails is planted where a GPU's would be: in a layer's forward, in the backward as
a weight's gradient is ready, in the log-prob op.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import grpo.fitting
import grpo.likelihood
import train
from grpo.clock import StepClock
from grpo.fitting import TokenBudget
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import Part, PromptBatch
from grpo.run.start_point import newest_checkpoint, read_state
from grpo.settings.config import GRPOConfig
from grpo.sft import sft_step
from grpo.step import train_step
from tests.grpo.test_rollout import rollout
from tests.grpo.test_step import CONFIG, REWARDS, Example, Recorder
from tests.models.nano import random_image

FULL = "DefaultCPUAllocator: can't allocate memory"
CPU = GRPOConfig(device="cpu", micro_batch_tokens=1000)


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


# --- the cut ------------------------------------------------------------------------------------


def planted(at: int, error: Exception, seen: list[Part]) -> Callable[[Part], None]:
    """Work whose call number ``at`` fails, counted from 0 over all tries."""

    def work(part: Part) -> None:
        seen.append(part)
        if len(seen) == at + 1:
            raise error

    return work


@pytest.mark.parametrize("at", range(3))
def test_all_rows_are_run_anew_with_half_the_tokens_and_later_passes_too(at, capsys):
    # groups of 2 rows: 10 + 2 * 5 tokens each, two to a micro-batch of 40
    sampled = rollout([10] * 6, [5] * 12, 2)
    budget, seen, starts = TokenBudget(replace(CPU, micro_batch_tokens=300)), [], []
    budget.tokens = 40
    work = planted(at, RuntimeError(FULL), seen)
    budget.run("update", sampled, work, start=lambda: starts.append(len(seen)))
    assert starts == [0, at + 1]
    again = seen[at + 1 :]
    assert [part.rows for part in again] == [(i, i + 1) for i in range(0, 12, 2)]
    assert budget.tokens == 20
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert f"this machine's memory ran out, during update ({FULL})" in " ".join(told.split())
    assert "micro-batches of 20 tokens, not 40" in " ".join(told.split())
    before = len(seen)
    budget.run("reference", sampled, work, groups=[1, 4])
    assert [part.rows for part in seen[before:]] == [(2, 3), (8, 9)]
    assert capsys.readouterr().err == ""


def test_it_is_halved_until_the_very_micro_batch_is_another():
    sampled = rollout([10], [5, 5, 5, 5], 4)  # 30 tokens of the 1,000
    budget, seen = TokenBudget(CPU), []
    budget.run("update", sampled, planted(0, OutOfMemoryError("full"), seen))
    assert budget.tokens == 1000 // 2**6 == 15 and [p.rows for p in seen[1:]] == [
        (0,),
        (1,),
        (2,),
        (3,),
    ]


def test_a_row_that_does_not_fit_alone_ends_it(capsys):
    budget, seen = TokenBudget(CPU), []
    budget.tokens = 5
    error = OutOfMemoryError("full")
    with pytest.raises(OutOfMemoryError) as caught:
        budget.run("update", rollout([10], [5, 5], 2), planted(1, error, seen))
    assert caught.value is error and len(seen) == 2 and budget.tokens == 5
    assert capsys.readouterr().err == ""


def test_what_is_no_full_memory_is_not_tried_again():
    budget, seen = TokenBudget(CPU), []
    with pytest.raises(ValueError, match="broken"):
        budget.run("update", rollout([10], [5, 5], 2), planted(0, ValueError("broken"), seen))
    assert len(seen) == 1 and budget.tokens == 1000


def test_this_machines_memory_beside_a_gpu_is_not_what_a_micro_batch_takes():
    budget = TokenBudget(replace(CPU, device="cuda"))
    with pytest.raises(MemoryError):
        budget.run("update", rollout([10], [5, 5], 2), planted(0, MemoryError(), []))
    budget.run("update", rollout([10], [5, 5], 2), planted(0, OutOfMemoryError("full"), []))
    assert budget.tokens < 1000


def test_of_several_processes_none_leaves_the_others_waiting(monkeypatch):
    monkeypatch.setattr(grpo.fitting, "world", lambda: SimpleNamespace(size=2))
    with pytest.raises(OutOfMemoryError):
        TokenBudget(CPU).run(
            "update", rollout([10], [5, 5], 2), planted(0, OutOfMemoryError("full"), [])
        )


def test_what_the_broken_try_held_is_gone_before_the_next():
    held, alive = [], []

    def work(_part: Part) -> None:
        tensor = torch.zeros(3)
        if not held:
            held.append(weakref.ref(tensor))
            raise RuntimeError(FULL)

    TokenBudget(CPU).run(
        "update",
        rollout([10], [5, 5], 2),
        work,
        start=lambda: alive.extend(ref() is not None for ref in held),
    )
    assert alive == [False]


def test_a_run_that_goes_on_starts_with_what_it_had_come_down_to():
    budget = TokenBudget(CPU)
    assert budget.state == {}  # nothing to tell
    budget.run("update", rollout([10], [5, 5], 2), planted(0, RuntimeError(FULL), []))
    assert TokenBudget.of(CPU, budget.state).tokens == budget.tokens == 15
    assert TokenBudget.of(replace(CPU, micro_batch_tokens=300), budget.state).tokens == 300
    assert TokenBudget.of(CPU, {}).tokens == 1000


# --- a step -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(nano_policy):
    texts = ["Which plane is this?", "What changed here?", "Name it."]
    sizes = [(56, 84), (90, 130), (56, 56)]
    prompts = tuple(
        nano_policy.processor.encode(text, [random_image(*size, seed=i)])
        for i, (text, size) in enumerate(zip(texts, sizes, strict=True))
    )
    return PromptBatch(prompts, tuple(Example(f"e{i}", i) for i in range(3)), (0, 1, 2), 0)


@contextmanager
def failing(policy, place: str, at: int) -> Iterator[list[int]]:
    """Let allocation number ``at`` of a step's passes with gradient fail; yield who has asked."""
    asked: list[int] = []

    def allocate(*_) -> None:
        if torch.is_grad_enabled() or place == "backward":
            asked.append(len(asked))
            if len(asked) == at + 1:
                raise RuntimeError(FULL)

    layer = policy.text.layers[1]
    if place == "forward":
        hook = layer.mlp.register_forward_pre_hook(allocate)
    else:
        hook = layer.mlp.down_proj.weight.register_hook(allocate)
    try:
        yield asked
    finally:
        hook.remove()


SPLIT = replace(CONFIG, beta=0.0, micro_batch_tokens=100)  # holds no prompts' pass


def take(policy, other, step_batch, config, moves=False, budget=None):
    optimizer = Recorder(policy, config, moves)
    clock = StepClock(policy.device)
    result = train_step(policy, other, optimizer, step_batch, REWARDS, config, clock, budget=budget)
    return result, optimizer


def assert_same(one, other) -> None:
    """Gradients and metrics, to the bit."""
    for mine, theirs in zip(one[1].gradients, other[1].gradients, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert one[0].metrics == other[0].metrics


@pytest.mark.model
@pytest.mark.parametrize("place", ["forward", "backward"])
def test_the_gradient_is_that_of_the_halved_budget_wherever_memory_ran_out(
    nano_policy,
    batch,
    place,
    capsys,
):
    with failing(nano_policy, place, -1) as asked:
        whole = take(nano_policy, None, batch, SPLIT)
    assert len(asked) >= 2  # micro-batches
    halved = {}
    for at in asked:
        budget = TokenBudget(SPLIT)
        with failing(nano_policy, place, at) as tried:
            result = take(nano_policy, None, batch, SPLIT, budget=budget)
        assert len(tried) > at + 1 + len(asked) and budget.tokens < SPLIT.micro_batch_tokens
        if budget.tokens not in halved:
            less = replace(SPLIT, micro_batch_tokens=budget.tokens)
            halved[budget.tokens] = take(nano_policy, None, batch, less)
        assert_same(result, halved[budget.tokens])
        for name, gradient in result[1].gradients[0].items():
            torch.testing.assert_close(gradient, whole[1].gradients[0][name], atol=3e-5, rtol=0)
    assert capsys.readouterr().err.count("warning") == len(asked)


@pytest.mark.model
def test_a_prompts_pass_of_the_rollout_is_let_go(nano_policy, batch):
    config = replace(CONFIG, beta=0.0)
    # of one prompt: the parts of the next try are about the very prompt of the pass
    one = replace(batch, prompts=batch.prompts[:1], examples=batch.examples[:1], positions=(0,))
    whole = take(nano_policy, None, one, config)
    budget = TokenBudget(config)
    with failing(nano_policy, "backward", 0) as asked:
        result = take(nano_policy, None, one, config, budget=budget)
    assert len(asked) > 2  # several parts of it
    for name, gradient in result[1].gradients[0].items():
        torch.testing.assert_close(gradient, whole[1].gradients[0][name], atol=3e-5, rtol=0)


@pytest.mark.model
@pytest.mark.parametrize("at", [0, 1])
def test_memory_of_the_log_prob_op_under_the_reference(nano_policy, batch, at, monkeypatch):
    # the reference's passes come first, so that all of the step is the halved budget's
    config = replace(SPLIT, beta=0.04)
    real, calls = grpo.likelihood.token_logprobs, []

    def full(*args, **options):
        calls.append(len(calls))
        if len(calls) == at + 1:
            raise OutOfMemoryError("CUDA out of memory")
        return real(*args, **options)

    budget = TokenBudget(config)
    monkeypatch.setattr(grpo.likelihood, "token_logprobs", full)
    result = take(nano_policy, nano_policy, batch, config, budget=budget)
    monkeypatch.undo()
    less = replace(config, micro_batch_tokens=budget.tokens)
    assert_same(result, take(nano_policy, nano_policy, batch, less))


@pytest.mark.model
def test_a_row_alone_ends_the_step_before_any_weight_moves(nano_policy, batch, capsys):
    config = replace(SPLIT, micro_batch_tokens=20)  # every row is one
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    with (
        failing(nano_policy, "backward", 2) as asked,
        pytest.raises(RuntimeError, match="DefaultCPUAllocator"),
    ):
        take(nano_policy, None, batch, config, moves=True)
    assert len(asked) == 3 and capsys.readouterr().err == ""
    assert all(torch.equal(nano_policy.state_dict()[name], before[name]) for name in before)


@pytest.mark.model
def test_only_the_pass_in_which_it_ran_out_is_run_anew(nano_policy, batch):
    config = replace(SPLIT, num_iterations=3)
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    moved = []
    for at in (None, 3):
        with failing(nano_policy, "forward", -1 if at is None else at) as asked:
            _, optimizer = take(nano_policy, None, batch, config, moves=True)
        assert len(optimizer.gradients) == 3, asked
        moved.append({name: value.clone() for name, value in nano_policy.state_dict().items()})
        nano_policy.load_state_dict(before)
    for name in before:
        torch.testing.assert_close(moved[0][name], moved[1][name], atol=1e-4, rtol=0)
    assert any(not torch.equal(moved[0][name], before[name]) for name in before)


def test_a_gradient_that_was_on_its_way_to_its_master_is_dropped():
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = PolicyOptimizer(torch.nn.ParameterList([weight]), CONFIG, total_steps=1)
    optimizer.start_step(0)
    weight.grad = torch.ones_like(weight)  # as autograd leaves it where the hook has failed
    optimizer.zero_grad()
    (2 * weight).sum().backward()
    assert torch.equal(optimizer.masters["0"].grad, torch.full((4,), 2.0))


@pytest.mark.model
def test_the_supervised_step_does_the_same(nano_policy, batch):
    settings = {"max_completion_tokens": SPLIT.max_completion_tokens, "micro_batch_tokens": 400}
    config = GRPOConfig(method="sft", mode="no_think", **settings)
    targets = ["a tibia", "nothing at all", "b"]

    def step(settings, budget=None):
        optimizer = Recorder(nano_policy, settings)
        clock = StepClock(nano_policy.device)
        metrics = sft_step(nano_policy, optimizer, batch, targets, settings, clock, budget)
        return SimpleNamespace(metrics=metrics), optimizer

    budget = TokenBudget(config)
    with failing(nano_policy, "backward", 0):
        result = step(config, budget)
    assert budget.tokens < config.micro_batch_tokens
    assert_same(result, step(replace(config, micro_batch_tokens=budget.tokens)))


# --- a run --------------------------------------------------------------------------------------


# --- a run --------------------------------------------------------------------------------------

RUN = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device", "cpu"),
    *("--max-completion-tokens", "6", "--max-steps", "3", "--prompts-per-step", "2"),
    *("--group-size", "2", "--learning-rate", "1e-4", "--save-every", "2", "--beta", "0.04"),
    *("--micro-batch-tokens", "400"),
]


@pytest.mark.command
def test_a_run_goes_on_and_is_resumed_to_the_bit(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    real, calls = grpo.likelihood.token_logprobs, []

    def full(*args, **options):
        calls.append(len(calls))
        if len(calls) == 2:  # the reference's, then the first step's update
            raise RuntimeError(FULL)
        return real(*args, **options)

    monkeypatch.setattr(grpo.likelihood, "token_logprobs", full)
    assert train.main([*RUN, "--output-dir", str(out)]) == 0
    monkeypatch.undo()
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("memory ran out, during update") == 1
    state = read_state(newest_checkpoint(out))
    assert state["micro_batch_tokens"]["asked"] == 400 > state["micro_batch_tokens"]["taken"]
    weights = "checkpoints/step-000003/model.safetensors"
    whole = (out / weights).read_bytes()
    assert train.main(["--resume", str(out), "--resume-from", "step-000002"]) == 0
    assert (out / weights).read_bytes() == whole
    assert read_state(newest_checkpoint(out)) == state
