"""Our advantages, loss and gradient are TRL's, on a batch that TRL's own code was run on.

scripts/make_trl_golden.py wrote the file; TRL is not needed to read it.
"""

import itertools
import json

import pytest
import torch

from grpo.advantages import group_advantages
from grpo.loss import policy_loss, token_weights
from tests.places import ROOT

FILE = ROOT / "tests" / "golden" / "trl.json"
GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))
SETTINGS = ("loss_normalization", "advantage_scale", "beta", "epsilon_high", "num_iterations")
close = {"atol": 1e-6, "rtol": 0}


def name_of(case: dict) -> str:
    truncated = "-mask_truncated" if case["mask_truncated"] else ""
    return "-".join(str(case[key]) for key in ("trl_loss_type", *SETTINGS)) + truncated


@pytest.fixture(params=GOLDEN["cases"], ids=name_of)
def case(request) -> dict:
    return request.param


def test_the_file_covers_what_we_promise():
    assert GOLDEN["versions"]["trl"]
    covered = {tuple(case[key] for key in SETTINGS) for case in GOLDEN["cases"]}
    scales = ("group", "batch", "none")
    product = itertools.product(("sequence", "token", "constant"), scales, (0, 0.04), (0.2, 0.28))
    assert {(*settings, passes) for settings in product for passes in (1, 2)} <= covered
    assert any(case["mask_truncated"] for case in GOLDEN["cases"])
    assert any(case["trl_loss_type"] == "bnpo" for case in GOLDEN["cases"])
    assert FILE.stat().st_size < 100_000


def test_the_batch_tries_what_can_differ():
    rewards = total_rewards()
    assert (rewards.amax(dim=1) == rewards.amin(dim=1)).tolist() == [False, True, False]
    assert min(GOLDEN["lengths"]) < max(GOLDEN["lengths"])  # padding
    clipped = {case["clip_fraction"] for case in GOLDEN["cases"] if case["num_iterations"] == 2}
    assert len(clipped) > 1 and min(clipped) > 0.1  # clip-higher clips less


def total_rewards() -> torch.Tensor:
    """Return (N, G): each completion's rewards, weighted and summed."""
    weights = torch.tensor(GOLDEN["reward_weights"])
    return (weights @ torch.tensor(GOLDEN["rewards"])).view(-1, GOLDEN["group_size"])


def test_advantages(case):
    advantages = group_advantages(total_rewards(), scale=case["advantage_scale"])
    torch.testing.assert_close(advantages.flatten(), torch.tensor(case["advantages"]), **close)


def test_loss_gradient_and_metrics(case):
    mask = torch.tensor(case["mask"])
    logprobs = torch.tensor(GOLDEN["logprobs"], requires_grad=True)
    is_first_pass = case["num_iterations"] == 1
    loss, metrics = policy_loss(
        logprobs,
        logprobs.detach() if is_first_pass else torch.tensor(GOLDEN["old_logprobs"]),
        torch.tensor(GOLDEN["ref_logprobs"]),
        group_advantages(total_rewards(), scale=case["advantage_scale"]).flatten(),
        token_weights(mask, case["loss_normalization"], GOLDEN["max_completion_tokens"]),
        token_weights(mask, "token", GOLDEN["max_completion_tokens"]),
        epsilon_low=case["epsilon_low"],
        epsilon_high=case["epsilon_high"],
        beta=case["beta"],
    )
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(case["loss"]), **close)
    torch.testing.assert_close(logprobs.grad, torch.tensor(case["gradient"]), **close)
    assert metrics["clip_fraction"].item() == pytest.approx(case["clip_fraction"], abs=1e-6)
    if case["kl"] is not None:
        assert metrics["kl"].item() == pytest.approx(case["kl"], abs=1e-6)


def test_the_mask_is_the_lengths_unless_truncated_rows_are_left_out(case):
    lengths = torch.tensor(case["mask"]).sum(dim=1).tolist()
    expected = GOLDEN["lengths"]
    if case["mask_truncated"]:
        assert 0 in lengths
        expected = [b if a else 0 for a, b in zip(lengths, expected, strict=True)]
    assert lengths == expected
