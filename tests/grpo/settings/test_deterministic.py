"""--deterministic: what is set for it, when, and that all is set back; a GPU shows the rest."""

import os

import pytest
import torch

import train
from grpo.inverse_cdf import running_sums, sample_ids, whole_sums
from grpo.settings.config import GRPOConfig
from grpo.settings.deterministic import WORKSPACE, deterministic
from tests.grpo.test_gpu import CONFIG, step

ON_GPU = GRPOConfig(device="cuda:0", deterministic=True)


def set_now():
    modes = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    return (*modes, os.environ.get(WORKSPACE), torch.get_float32_matmul_precision())


@pytest.mark.parametrize("given", [None, ":16:8", ":0:0"])
def test_all_is_set_before_cuda_begins_and_set_back_after_the_run(given, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.delenv(WORKSPACE, raising=False)
    if given is not None:
        monkeypatch.setenv(WORKSPACE, given)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = set_now()
    with pytest.raises(ZeroDivisionError), deterministic(ON_GPU):
        during = set_now()
        raise ZeroDivisionError
    assert during == (True, False, ":16:8" if given == ":16:8" else ":4096:8", before[3])
    assert set_now() == before


def test_where_cuda_has_begun_it_says_what_to_set_before(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.delenv(WORKSPACE, raising=False)
    before = set_now()
    with pytest.raises(ValueError, match=rf"set {WORKSPACE}=:4096:8 before Python is started"):
        deterministic(ON_GPU).__enter__()
    assert set_now() == before
    monkeypatch.setenv(WORKSPACE, ":4096:8")
    with deterministic(ON_GPU):
        assert torch.are_deterministic_algorithms_enabled()


def test_without_the_flag_nothing_is_touched():
    before = set_now()
    with deterministic(GRPOConfig(device="cuda:0")):
        assert set_now() == before


@pytest.mark.command
def test_on_a_cpu_it_says_that_it_changes_nothing(tmp_path, capsys):
    flags = ["--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device"]
    flags += ["cpu", "--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "2"]
    out = ["--max-steps", "1", "--output-dir", str(tmp_path / "run"), "--deterministic"]
    assert train.main([*flags, *out]) == 0
    assert "--deterministic changes nothing on a CPU" in capsys.readouterr().err
    assert set_now()[0] is False


def test_whole_numbers_choose_as_floats_do():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(64, 5000, generator=generator) ** 8
    weights[:, 17] = 0
    weights /= weights.amax(dim=1, keepdim=True)
    exact = weights.double().cumsum(dim=1)
    assert (whole_sums(weights) - exact).abs().max() < 5000 * 2.0**-32
    uniforms = torch.rand(64, generator=generator)
    chosen = (whole_sums(weights) > uniforms[:, None] * whole_sums(weights)[:, -1:]).int().argmax(1)
    assert torch.equal(chosen, sample_ids(weights.double(), uniforms.double()))
    # any order of adding gives the same sums
    order = torch.randperm(5000, generator=generator)
    assert whole_sums(weights[:, order])[:, -1].equal(whole_sums(weights)[:, -1])
    assert running_sums(weights).equal(weights.cumsum(dim=1))  # as ever where none is asked for


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_step_on_a_gpu_is_the_same_twice_and_every_part_has_such_a_kernel(
    nano_policy, monkeypatch
):
    from models import load_policy

    monkeypatch.setenv(WORKSPACE, ":4096:8")
    found = []
    for _ in range(2):
        with deterministic(ON_GPU):
            policy = load_policy(nano_policy.path, device="cuda")
            reference = load_policy(nano_policy.path, device="cuda").requires_grad_(False)
            result, _ = step(policy, reference, CONFIG)
        weights = [weight.detach().cpu() for weight in policy.parameters()]
        found.append((result.rollout.completions.ids, weights))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(*pair) for pair in zip(found[0][1], found[1][1], strict=True))
