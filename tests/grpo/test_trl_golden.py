"""Our advantages, loss and gradient are TRL's, on a batch that TRL's own code was run on.

scripts/make_trl_golden.py wrote the file; TRL is not needed to read it.
"""

import itertools
import json
from dataclasses import asdict

import pytest
import torch

from grpo.advantages import step_advantages
from grpo.loss import policy_loss, token_weights
from grpo.objectives.factors import high_entropy_mask, sampler_correction
from grpo.overlong import overlong_penalties
from grpo.settings.config import GRPOConfig
from tests.places import ROOT

FILE = ROOT / "tests" / "golden" / "trl.json"
GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))
SETTINGS = ("loss_normalization", "advantage_scale", "beta", "epsilon_high", "num_iterations")
close = {"atol": 1e-6, "rtol": 0}


def name_of(case: dict) -> str:
    truncated = "-mask_truncated" if case["mask_truncated"] else ""
    variant = "".join(f"-{value}" for value in case.get("variant", {}).values())
    return "-".join(str(case[key]) for key in ("trl_loss_type", *SETTINGS)) + truncated + variant


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
    assert FILE.stat().st_size < 150_000
    varied = {name for case in GOLDEN["cases"] for name in case.get("variant", {})}
    assert varied >= {"ratio_level", "ratio_cap", "surrogate", "kl_estimator",
                      "reward_aggregation", "top_entropy_share", "entropy_bonus",
                      "sampler_correction_cap", "soft_overlong_tokens",
                      "advantage_baseline"}  # fmt: skip


def test_the_batch_tries_what_can_differ():
    rewards = total_rewards()
    assert (rewards.amax(dim=1) == rewards.amin(dim=1)).tolist() == [False, True, False]
    assert min(GOLDEN["lengths"]) < max(GOLDEN["lengths"])  # padding
    later = [case for case in GOLDEN["cases"] if case["num_iterations"] == 2]
    clipped = {case["clip_fraction"] for case in later if "variant" not in case}
    assert len(clipped) > 1 and min(clipped) > 0.1  # clip-higher clips less


def total_rewards() -> torch.Tensor:
    """Return (N, G): each completion's rewards, weighted and summed."""
    weights = torch.tensor(GOLDEN["reward_weights"])
    return (weights @ torch.tensor(GOLDEN["rewards"])).view(-1, GOLDEN["group_size"])


def config_of(case: dict) -> GRPOConfig:
    """Return the settings of a case as a run would have them."""
    names = (*SETTINGS, "epsilon_low", "mask_truncated")
    settings = {name: case[name] for name in names} | case.get("variant", {})
    return GRPOConfig(**settings, rewards=("a", "b"), reward_weights=GOLDEN["reward_weights"])


def advantages_of(case: dict) -> torch.Tensor:
    """Return (B,) of the file's rewards, as the step has them compared."""
    size, config = GOLDEN["group_size"], config_of(case)
    rewards = torch.tensor(GOLDEN["rewards"], dtype=torch.float64)  # (R, B)
    rewards = rewards.T.reshape(-1, size, len(rewards))  # (N, G, R)
    penalties = overlong_penalties(
        torch.tensor(GOLDEN["lengths"]).view(-1, size),
        GOLDEN["max_completion_tokens"],
        config.soft_overlong_tokens,
    )  # (N, G)
    return step_advantages(
        rewards, config.weights_of_rewards, penalties, **asdict(config.comparison)
    ).flatten()


def test_advantages(case):
    torch.testing.assert_close(advantages_of(case), torch.tensor(case["advantages"]), **close)


def test_loss_gradient_and_metrics(case):
    mask, config = torch.tensor(case["mask"]), config_of(case)
    logprobs = torch.tensor(GOLDEN["logprobs"], requires_grad=True)
    entropies = torch.tensor(GOLDEN["entropies"], requires_grad=True)
    chosen = high_entropy_mask(entropies.detach(), mask, config.top_entropy_share)
    old_logprobs = torch.tensor(GOLDEN["old_logprobs"])
    factors = chosen.float()
    if config.sampler_correction_cap:
        sampled = torch.tensor(GOLDEN["sampled_logprobs"])
        corrections, _ = sampler_correction(old_logprobs, sampled, config.sampler_correction_cap)
        assert (
            0.2 < (corrections == config.sampler_correction_cap)[mask.bool()].float().mean() < 0.8
        )
        factors = factors * corrections
    is_first_pass = case["num_iterations"] == 1
    loss, metrics = policy_loss(
        logprobs,
        logprobs.detach() if is_first_pass else old_logprobs,
        torch.tensor(GOLDEN["ref_logprobs"]),
        torch.tensor(case["advantages"]),
        token_weights(mask, case["loss_normalization"], GOLDEN["max_completion_tokens"]),
        token_weights(mask, "token", GOLDEN["max_completion_tokens"]),
        **asdict(config.objective),
        token_factors=factors,
        entropies=entropies,
        entropy_weights=token_weights(chosen & mask.bool(), "token", 1),
    )
    loss.backward()
    if config.advantage_baseline == "leave_one_out":
        # TRL's RLOO adds up a completion's log-probabilities; ours, over the constant, are as many
        # times smaller, and so is the gradient. Its loss is of ratios that are 1: nothing to see.
        logprobs.grad *= GOLDEN["max_completion_tokens"]
    else:
        torch.testing.assert_close(loss, torch.tensor(case["loss"]), **close)
    torch.testing.assert_close(logprobs.grad, torch.tensor(case["gradient"]), **close)
    assert (entropies.grad is not None) == ("entropy_gradient" in case)
    if "entropy_gradient" in case:
        torch.testing.assert_close(entropies.grad, torch.tensor(case["entropy_gradient"]), **close)
    # TRL counts only what the inner bounds cut off, whole completions where it clips these, and a
    # corrected KL as it is in the loss
    if case["clip_fraction"] is not None and config.ratio_level == "token" and not config.ratio_cap:
        assert metrics["clip_fraction"].item() == pytest.approx(case["clip_fraction"], abs=1e-6)
    if case["kl"] is not None and config.kl_estimator == "k3":
        assert metrics["kl"].item() == pytest.approx(case["kl"], abs=1e-6)


def test_the_mask_is_the_lengths_unless_truncated_rows_are_left_out(case):
    lengths = torch.tensor(case["mask"]).sum(dim=1).tolist()
    expected = GOLDEN["lengths"]
    if case["mask_truncated"]:
        assert 0 in lengths
        expected = [b if a else 0 for a, b in zip(lengths, expected, strict=True)]
    assert lengths == expected
