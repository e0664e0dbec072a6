"""The objective: two examples worked by hand, laws, and a slow version that loops over tokens."""

import math

import pytest
import torch

from grpo.loss import policy_loss, token_weights
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.ratio import RATIO_LEVELS
from grpo.objectives.surrogate import SURROGATES

NORMALIZATIONS = ["sequence", "token", "constant"]
any_normalization = pytest.mark.parametrize("normalization", NORMALIZATIONS)
any_seed = pytest.mark.parametrize("seed", range(4))
CLIP = {"epsilon_low": 0.2, "epsilon_high": 0.2}


def right_padded_mask(lengths, width: int) -> torch.Tensor:
    return torch.arange(width) < torch.as_tensor(lengths)[:, None]


def random_batch(seed: int, rows: int = 5, width: int = 6) -> dict[str, torch.Tensor]:
    """The tensor arguments of `policy_loss`, ratios far enough from 1 that many are clipped."""
    generator = torch.Generator().manual_seed(seed)
    logprobs = -3 * torch.rand(rows, width, generator=generator)
    mask = right_padded_mask(torch.randint(0, width + 1, (rows,), generator=generator), width)
    return {
        "logprobs": logprobs,
        "old_logprobs": logprobs + 0.4 * torch.randn(rows, width, generator=generator),
        "ref_logprobs": logprobs + 0.4 * torch.randn(rows, width, generator=generator),
        "advantages": torch.randn(rows, generator=generator),
        "loss_weights": token_weights(mask, "sequence", width),
        "metric_weights": token_weights(mask, "token", width),
    }


# --- token_weights ------------------------------------------------------------------------------


def test_weights_worked_by_hand():
    # rows of 3, 1 and 0 tokens, limit 4:
    # sequence: 1 / (3 rows * 3 tokens), 1 / (3 * 1); token: 1 / (3 + 1); constant: 1 / (3 * 4)
    mask = right_padded_mask([3, 1, 0], 3)
    expected = {"sequence": (1 / 9, 1 / 3), "token": (1 / 4, 1 / 4), "constant": (1 / 12, 1 / 12)}
    for normalization, (long, short) in expected.items():
        weights = torch.tensor([[long, long, long], [short, 0, 0], [0, 0, 0]])
        actual = token_weights(mask, normalization, 4)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, weights)


@any_normalization
def test_the_weighted_sum_is_the_mean_that_the_paper_writes(normalization):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, 7, generator=generator)
    lengths = [7, 3, 1, 5]
    rows = [values[row, :length] for row, length in enumerate(lengths)]
    expected = {
        "sequence": torch.stack([row.mean() for row in rows]).mean(),
        "token": torch.cat(rows).mean(),
        "constant": torch.cat(rows).sum() / (4 * 10),
    }
    weights = token_weights(right_padded_mask(lengths, 7), normalization, 10)
    torch.testing.assert_close((weights * values).sum(), expected[normalization])


@any_normalization
def test_an_empty_batch_weighs_nothing(normalization):
    weights = token_weights(torch.zeros(2, 3), normalization, 3)
    assert torch.equal(weights, torch.zeros(2, 3))


def test_a_single_token_weighs_one_under_every_normalization():
    # the least that a batch, and a limit, can be
    for normalization in NORMALIZATIONS:
        assert token_weights(torch.ones(1, 1), normalization, 1).tolist() == [[1.0]]


@pytest.mark.parametrize("normalization", ["sequence", "constant"])
def test_a_row_left_out_still_counts_in_the_denominator(normalization):
    whole = token_weights(right_padded_mask([3, 2], 3), normalization, 3)
    left_out = token_weights(right_padded_mask([3, 0], 3), normalization, 3)
    assert torch.equal(left_out[0], whole[0])


@pytest.mark.parametrize(
    ("mask", "normalization", "limit", "message"),
    [
        (torch.ones(3), "token", 3, r"shape \(B, C\), got \(3,\)"),
        (torch.ones(2, 3), "dapo", 3, r"unknown normalization 'dapo': use one of \('sequence'"),
        (torch.ones(2, 3), "constant", 0, "at least 1, got 0"),
    ],
)
def test_the_weights_error_says_what_was_wrong(mask, normalization, limit, message):
    with pytest.raises(ValueError, match=message):
        token_weights(mask, normalization, limit)


# --- policy_loss --------------------------------------------------------------------------------


def test_worked_example():
    # One row of three tokens, advantage 2, epsilons 0.2 and 0.3, beta 0.1; ratios 1, 1.5, 0.5:
    #   surrogate  min(2, 2) = 2    min(3, 2.6) = 2.6 clipped    min(1, 1.6) = 1
    # reference ratios 1, 2, 1/2:
    #   k3         0                2 - ln 2 - 1 = 1 - ln 2      1/2 + ln 2 - 1 = ln 2 - 1/2
    # weights 1/3 each: surrogate 5.6 / 3, kl (1 - 1/2) / 3 = 1/6, loss 0.1 / 6 - 5.6 / 3
    logprobs = torch.full((1, 3), -1.0, requires_grad=True)
    weights = torch.full((1, 3), 1 / 3)
    loss, metrics = policy_loss(
        logprobs,
        logprobs.detach() - torch.tensor([[1.0, 1.5, 0.5]]).log(),
        logprobs.detach() + torch.tensor([[1.0, 2.0, 0.5]]).log(),
        torch.tensor([2.0]),
        weights,
        weights,
        epsilon_low=0.2,
        epsilon_high=0.3,
        beta=0.1,
    )
    assert loss.item() == pytest.approx(0.1 / 6 - 5.6 / 3, rel=1e-6)
    assert metrics["loss"].item() == loss.item()
    assert metrics["kl"].item() == pytest.approx(1 / 6, rel=1e-6)
    assert metrics["clip_fraction"].item() == pytest.approx(1 / 3, rel=1e-6)
    # d loss / d logprob = (beta * (1 - reference ratio) - ratio * A where not clipped) / 3
    loss.backward()
    expected = [[(0 - 2) / 3, (0.1 * -1 - 0) / 3, (0.1 * 0.5 - 1) / 3]]
    torch.testing.assert_close(logprobs.grad, torch.tensor(expected))


@pytest.mark.parametrize("coefficient", [0.5, -0.25])
def test_an_entropy_bonus_worked_by_hand(coefficient):
    # entropies 1 and 3, of which the mean over the last two tokens counts: 2; no advantage
    zeros, weights = torch.zeros(1, 3), torch.tensor([[0.0, 0.5, 0.5]])
    entropies = torch.tensor([[7.0, 1.0, 3.0]], requires_grad=True)
    loss, metrics = policy_loss(
        *(zeros, zeros, zeros, torch.zeros(1), weights, weights),
        **{"epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.0, "entropy_bonus": coefficient},
        entropies=entropies,
        entropy_weights=weights,
    )
    assert loss.item() == metrics["loss"].item() == -2 * coefficient
    assert metrics["entropy_bonus"].item() == 2 * coefficient
    loss.backward()
    assert entropies.grad.tolist() == [[0.0, -coefficient / 2, -coefficient / 2]]


@pytest.mark.parametrize("given", [(), ("entropies",), ("entropy_weights",)])
def test_an_entropy_bonus_wants_entropies_and_their_weights(given):
    batch = random_batch(0)
    some = {name: torch.ones_like(batch["logprobs"]) for name in given}
    with pytest.raises(ValueError, match=r"entropy_bonus=0\.1 needs entropies and entropy_w"):
        policy_loss(**batch, **CLIP, **some, beta=0.0, entropy_bonus=0.1)


@pytest.mark.parametrize(
    ("ratio", "advantage", "is_clipped"),
    [
        (1.5, 1.0, True),  # already likelier by more than the bound: push no further
        (1.25, 1.0, False),  # inside the upper bound 1.3 (above 1.2: clip-higher)
        (1.5, -1.0, False),  # likelier but worse: always allowed to come back
        (0.7, -1.0, True),
        (0.85, -1.0, False),
        (0.7, 1.0, False),
    ],
)
def test_clipping_stops_the_gradient_only_away_from_one(ratio, advantage, is_clipped):
    logprobs = torch.full((1, 1), -1.0, requires_grad=True)
    one = torch.ones(1, 1)
    loss, metrics = policy_loss(
        logprobs,
        logprobs.detach() - math.log(ratio),
        logprobs.detach(),
        torch.tensor([advantage]),
        one,
        one,
        epsilon_low=0.2,
        epsilon_high=0.3,
        beta=0.0,
    )
    loss.backward()
    assert metrics["clip_fraction"].item() == float(is_clipped)
    expected = 0.0 if is_clipped else -ratio * advantage
    assert logprobs.grad.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("level", RATIO_LEVELS)
@pytest.mark.parametrize(
    ("surrogate", "cap", "advantage"),
    [("clip", 0.0, 1.0), ("clip", 4.0, -1.0), ("sapo", 0.0, 1.0), ("sapo", 0.0, -1.0)],
)
def test_a_bounded_ratio_beyond_every_number_has_no_gradient(level, surrogate, cap, advantage):
    """exp(100) is inf in float32, and the derivative of its bound, 0, times inf would be NaN."""
    logprobs = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    one = torch.ones(1, 2)
    limits = {"epsilon_low": 0.2, "epsilon_high": 0.3, "ratio_cap": cap}
    choices = {"ratio_level": level, "surrogate": surrogate, "beta": 0.0}
    loss, _ = policy_loss(
        *(logprobs, logprobs.detach() - 100, logprobs.detach(), torch.tensor([advantage])),
        *(one, one),
        **limits,
        **choices,
    )
    loss.backward()
    bound = {"clip": 4.0 if cap else 1.3, "sapo": 4 / (1.0 if advantage > 0 else 1.05)}[surrogate]
    assert loss.item() == pytest.approx(-2 * bound * advantage)
    assert logprobs.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("log_ratio", [100, 1e12])  # of which float32 cannot take 80 away
def test_a_ratio_without_a_bound_still_pulls_back_however_large(log_ratio):
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    one = torch.ones(1, 1)
    loss, _ = policy_loss(
        *(
            logprobs,
            logprobs.detach() - log_ratio,
            logprobs.detach(),
            torch.tensor([-1.0]),
            one,
            one,
        ),
        **{"epsilon_low": 0.2, "epsilon_high": 0.3, "beta": 0.0},
    )
    loss.backward()
    assert 1e34 < logprobs.grad.item() < math.inf


def slow_loss(
    batch,
    epsilon_low,
    epsilon_high,
    beta,
    ratio_level="token",
    ratio_cap=0.0,
    surrogate="clip",
    kl_estimator="k3",
):
    """Return loss, kl and clip fraction token by token, in Python's floats."""
    loss = kl_sum = bounded_sum = 0.0
    for row, advantage in enumerate(batch["advantages"].tolist()):
        names = ("logprobs", "old_logprobs", "ref_logprobs", "loss_weights", "metric_weights")
        tokens = [
            token
            for token in zip(*(batch[name][row].tolist() for name in names), strict=True)
            if token[3] or token[4]
        ]
        mean = sum(new - old for new, old, *_ in tokens) / max(1, len(tokens))
        for column, (new, old, ref, weight, metric_weight) in enumerate(tokens):
            ratio = math.exp(mean if ratio_level == "sequence" else new - old)
            if surrogate == "clip":
                first = min(ratio, ratio_cap or math.inf)
                within = min(max(ratio, 1 - epsilon_low), 1 + epsilon_high)
                gained = min(first * advantage, within * advantage)
                is_bounded = gained != ratio * advantage
            elif surrogate == "cispo":
                gained, is_bounded = (
                    min(ratio, epsilon_high) * advantage * new,
                    ratio > epsilon_high,
                )
            else:
                t = 1.0 if advantage > 0 else 1.05
                gained, is_bounded = 4 / t / (1 + math.exp(-t * (ratio - 1))) * advantage, False
            d = ref - new
            k3 = math.exp(d) - d - 1
            kl = {"k1": -d, "k2": d * d / 2, "k3": k3, "k3_corrected": k3 * ratio}[kl_estimator]
            factor = batch["token_factors"][row, column].item() if "token_factors" in batch else 1.0
            loss += weight * (beta * kl - factor * gained)
            kl_sum += metric_weight * k3
            bounded_sum += metric_weight * is_bounded
    return loss, kl_sum, bounded_sum


@any_seed
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("epsilon_high", [0.2, 0.28])
def test_an_independent_slow_version_agrees(seed, beta, epsilon_high):
    batch = random_batch(seed)
    loss, metrics = policy_loss(**batch, epsilon_low=0.2, epsilon_high=epsilon_high, beta=beta)
    slow = slow_loss(batch, 0.2, epsilon_high, beta)
    fast = [loss.item(), metrics["kl"].item(), metrics["clip_fraction"].item()]
    assert fast == pytest.approx(slow, abs=2e-6)
    assert 0.05 < metrics["clip_fraction"] < 0.9  # or the clip was not tried


VARIANTS = [  # every entry of a table, and what else there is
    *({"ratio_level": name} for name in RATIO_LEVELS),
    *({"surrogate": name, "epsilon_high": 1.3} for name in SURROGATES),
    *({"kl_estimator": name} for name in KL_ESTIMATORS),
    {"ratio_cap": 1.4},
    {"surrogate": "cispo", "epsilon_high": 1.1, "ratio_level": "sequence"},
    {"kl_estimator": "k3_corrected", "ratio_level": "sequence"},
]
any_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values()))
)
WITH_KL = {**CLIP, "beta": 0.3}


@any_seed
@any_variant
def test_an_independent_slow_version_of_every_variant_agrees(seed, variant):
    batch = random_batch(seed)
    batch["token_factors"] = torch.rand(5, 6, generator=torch.Generator().manual_seed(seed))
    loss, metrics = policy_loss(**batch, **WITH_KL | variant)
    fast = [loss.item(), metrics["kl"].item(), metrics["clip_fraction"].item()]
    assert fast == pytest.approx(slow_loss(batch, **WITH_KL | variant), abs=2e-6)


@any_variant
def test_micro_batches_of_every_variant_add_up_to_the_batch(variant):
    batch = random_batch(1)
    batch["token_factors"] = torch.rand(5, 6, generator=torch.Generator().manual_seed(2))
    batch["logprobs"].requires_grad_()
    (whole,) = torch.autograd.grad(policy_loss(**batch, **WITH_KL | variant)[0], batch["logprobs"])
    parts = [
        policy_loss(**{name: value[rows] for name, value in batch.items()}, **WITH_KL | variant)[0]
        for rows in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    (pieces,) = torch.autograd.grad(sum(parts), batch["logprobs"])
    torch.testing.assert_close(pieces, whole, atol=1e-7, rtol=1e-6)


@any_variant
def test_what_is_logged_of_a_variant_keeps_no_graph(variant):
    batch = random_batch(1)
    batch["logprobs"].requires_grad_()
    bonus = {"entropies": -batch["logprobs"], "entropy_weights": batch["loss_weights"]}
    loss, metrics = policy_loss(**batch, **WITH_KL | variant, **bonus, entropy_bonus=0.1)
    assert loss.requires_grad and "entropy_bonus" in metrics
    assert [name for name, value in metrics.items() if value.requires_grad] == []


@any_variant
def test_the_gradient_of_every_variant_is_that_of_finite_differences(variant):
    batch = {name: value.double() for name, value in random_batch(2).items()}
    logprobs = batch.pop("logprobs").requires_grad_()

    def loss(logprobs):
        return policy_loss(logprobs, **batch, **WITH_KL | variant)[0]

    if variant.get("surrogate") != "cispo":
        assert torch.autograd.gradcheck(loss, logprobs)
    else:  # its value moves with the weights that its gradient takes as given
        assert not torch.autograd.gradcheck(loss, logprobs, raise_exception=False)


@any_variant
def test_padding_reaches_neither_loss_nor_gradient_of_any_variant(variant):
    batch = random_batch(2)
    is_padding = (batch["loss_weights"] == 0) & (batch["metric_weights"] == 0)
    clean, dirty = (
        {**batch, "logprobs": batch["logprobs"].masked_fill(is_padding, value).requires_grad_()}
        for value in (0.0, math.nan)
    )
    dirty["token_factors"] = torch.ones(5, 6).masked_fill(is_padding, math.nan)
    results = [policy_loss(**one, **WITH_KL | variant)[0] for one in (clean, dirty)]
    gradients = [
        torch.autograd.grad(loss, one["logprobs"])[0]
        for loss, one in zip(results, (clean, dirty), strict=True)
    ]
    assert torch.equal(*results) and torch.equal(*gradients)


def test_a_factor_is_of_the_surrogate_and_not_of_the_kl():
    batch = random_batch(0)
    alone = policy_loss(**batch, **CLIP, beta=0.0)[0]
    both, kl_alone = (
        policy_loss(**batch, **WITH_KL, token_factors=torch.full((5, 6), factor))[0]
        for factor in (1.0, 0.0)
    )
    torch.testing.assert_close(both - kl_alone, alone)
    assert kl_alone > 0


@pytest.mark.parametrize(("level", "expected"), [("token", [0.5, 0.0]), ("sequence", [0.25, 0.25])])
def test_a_ratio_of_completions_spreads_a_tokens_factor_over_all_its_tokens(level, expected):
    now, half = torch.full((1, 2), -1.0, requires_grad=True), torch.full((1, 2), 0.5)
    loss, _ = policy_loss(
        *(now, now.detach(), now.detach(), torch.tensor([1.0]), half, half),
        **CLIP,
        beta=0.0,
        ratio_level=level,
        token_factors=torch.tensor([[1.0, 0.0]]),
    )
    loss.backward()
    assert (-now.grad[0]).tolist() == expected


def test_of_completions_of_one_token_the_two_ratios_are_one():
    batch = random_batch(3)
    batch = {name: value[:, :1] if value.dim() == 2 else value for name, value in batch.items()}
    token, sequence = (
        policy_loss(**batch, **WITH_KL, ratio_level=level) for level in ("token", "sequence")
    )
    assert torch.equal(token[0], sequence[0]) and token[1] == sequence[1]


@any_variant
def test_on_the_first_pass_no_variant_but_the_kls_changes_the_gradient(variant):
    batch = random_batch(0)
    batch["logprobs"].requires_grad_()
    batch["old_logprobs"] = batch["logprobs"].detach()
    plain, varied = (
        torch.autograd.grad(policy_loss(**batch, **CLIP | one, beta=0.0)[0], batch["logprobs"])[0]
        for one in ({}, variant)
    )
    if variant.get("ratio_level", "token") != "token":  # of a completion the sum is what stays
        plain, varied = plain.sum(dim=1), varied.sum(dim=1)
    torch.testing.assert_close(varied, plain)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ratio_level": "word"}, r"unknown ratio_level 'word': use one of \('token', 'sequence'"),
        ({"surrogate": "ppo"}, r"unknown surrogate 'ppo': use one of \('clip'"),
        ({"kl_estimator": "k4"}, "unknown kl_estimator 'k4'"),
        ({"token_factors": torch.ones(5, 1)}, "token_factors must have the shape of logprobs"),
    ],
)
def test_the_error_of_a_variant_says_what_was_wrong(setting, message):
    with pytest.raises(ValueError, match=message):
        policy_loss(**random_batch(0), **WITH_KL | setting)


@any_seed
@pytest.mark.parametrize("name", ["loss_weights", "metric_weights"])
def test_a_token_that_one_of_the_weights_leaves_out_still_counts_in_the_other(seed, name):
    # a truncated row that is masked has no weight in the loss, but its KL and its clips are logged
    batch = random_batch(seed)
    batch[name] = batch[name].clone()
    batch[name][::2] = 0
    loss, metrics = policy_loss(**batch, **CLIP, beta=0.3)
    fast = [loss.item(), metrics["kl"].item(), metrics["clip_fraction"].item()]
    assert fast == pytest.approx(slow_loss(batch, 0.2, 0.2, 0.3), abs=2e-6)


@any_seed
@any_normalization
def test_micro_batches_add_up_to_the_batch(seed, normalization):
    batch = random_batch(seed)
    mask = batch["metric_weights"] > 0
    batch["loss_weights"] = token_weights(mask, normalization, 6)
    batch["logprobs"].requires_grad_()
    loss, metrics = policy_loss(**batch, **CLIP, beta=0.04)
    (whole,) = torch.autograd.grad(loss, batch["logprobs"])

    parts = [
        policy_loss(**{name: value[rows] for name, value in batch.items()}, **CLIP, beta=0.04)
        for rows in (slice(0, 1), slice(1, 4), slice(4, 5))
    ]
    (pieces,) = torch.autograd.grad(sum(part for part, _ in parts), batch["logprobs"])
    torch.testing.assert_close(pieces, whole, atol=1e-7, rtol=1e-6)
    for name, value in metrics.items():
        total = sum(part_metrics[name] for _, part_metrics in parts)
        torch.testing.assert_close(total, value, atol=1e-6, rtol=1e-6)


def test_on_the_first_pass_the_gradient_is_the_policy_gradient():
    batch = random_batch(0)
    batch["logprobs"].requires_grad_()
    batch["old_logprobs"] = batch["ref_logprobs"] = batch["logprobs"].detach()
    loss, metrics = policy_loss(**batch, **CLIP, beta=0.04)
    (gradient,) = torch.autograd.grad(loss, batch["logprobs"])
    expected = -batch["advantages"][:, None] * batch["loss_weights"]
    torch.testing.assert_close(gradient, expected)
    assert metrics["kl"] == metrics["clip_fraction"] == 0


def test_the_kl_keeps_its_digits_near_the_reference():
    # k3 of d = 1e-3 is d^2 / 2 + d^3 / 6 = 5.0017e-7; exp(d) - d - 1 in float32 is off by 5 %
    logprobs = torch.zeros(1, 1)
    one = torch.ones(1, 1)
    metrics = policy_loss(
        logprobs, logprobs, logprobs + 1e-3, torch.zeros(1), one, one, **CLIP, beta=0.0
    )[1]
    assert metrics["kl"].item() == pytest.approx(5.0017e-7, rel=1e-3)


@pytest.mark.parametrize("padding", [0.0, 1e4, -1e4, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["logprobs", "old_logprobs", "ref_logprobs"])
def test_what_stands_in_the_padding_reaches_neither_loss_nor_gradient(name, padding):
    batch = random_batch(2)
    is_padding = (batch["loss_weights"] == 0) & (batch["metric_weights"] == 0)
    assert is_padding.any()

    def loss_and_gradient(batch):
        logprobs = batch["logprobs"].clone().requires_grad_()
        loss, metrics = policy_loss(**{**batch, "logprobs": logprobs}, **CLIP, beta=0.04)
        return loss.detach(), *metrics.values(), *torch.autograd.grad(loss, logprobs)

    clean = loss_and_gradient(batch)
    dirty = loss_and_gradient({**batch, name: batch[name].masked_fill(is_padding, padding)})
    for expected, actual in zip(clean, dirty, strict=True):
        assert torch.equal(actual, expected)
    assert torch.equal(dirty[-1][is_padding], torch.zeros(int(is_padding.sum())))


def test_old_and_reference_log_probs_and_advantages_are_not_written_to():
    batch = random_batch(3)
    before = {name: value.clone() for name, value in batch.items()}
    policy_loss(**batch, **CLIP, beta=0.04)
    assert all(torch.equal(before[name], value) for name, value in batch.items())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("advantages", (6,), r"advantages \(M,\), got \(5, 6\) and \(6,\)"),
        ("advantages", (5, 1), r"one advantage per completion"),
        (
            "old_logprobs",
            (5,),
            r"old_logprobs must have the shape of logprobs \(5, 6\), got \(5,\)",
        ),
        ("ref_logprobs", (1, 6), "ref_logprobs must have"),
        ("loss_weights", (6, 5), "loss_weights must have"),
        ("metric_weights", (6,), "metric_weights must have .* select the same rows"),
        ("token_factors", (6,), "token_factors must have"),
        ("entropies", (1, 6), "entropies must have"),
        ("entropy_weights", (5,), "entropy_weights must have"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(name, shape, message):
    batch = {**random_batch(0), name: torch.zeros(shape)}
    with pytest.raises(ValueError, match=message):
        policy_loss(**batch, **CLIP, beta=0.0)


@pytest.mark.parametrize("level", RATIO_LEVELS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_what_the_loss_leaves_out_is_measured_as_it_was(level, surrogate):
    batch = random_batch(seed=2, rows=8)
    limits = {"epsilon_low": 0.05, "epsilon_high": 1.0 if surrogate == "cispo" else 0.05}
    options = {**limits, "beta": 0.1, "ratio_level": level, "surrogate": surrogate}
    _, whole = policy_loss(**batch, **options)
    masked = torch.arange(8)[:, None] % 2 == 0  # as with --mask-truncated
    batch["loss_weights"] = batch["loss_weights"].masked_fill(masked, 0.0)
    loss, left = policy_loss(**batch, **options)
    assert loss != whole["loss"] and (surrogate == "sapo" or whole["clip_fraction"] > 0)
    for name in ("kl", "clip_fraction"):
        assert left[name] == whole[name]
