"""`--verify-prefix` finds update and sampler right, and what is wrong with either."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import grpo.policies
import grpo.watch.second_model
import models.decode.eager
import models.policy
import models.vision.tower
import train
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.watch.gap import GAP_MAX_FLOAT32, GAP_MEAN_BFLOAT16
from grpo.watch.second_model import place_for_a_copy, take_weights
from grpo.watch.verify import FLOAT32_BAR, verify_prefix
from models import load_policy
from models.lora.policy import LoraPolicy
from models.lora.settings import LoraSettings
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(group_size=3, max_completion_tokens=8, temperature=0.8)


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    encode = nano_policy.processor.encode
    prompts = (
        encode("Which plane is this?", [random_image(56, 84)]),
        encode("What changed?", [random_image(90, 130, seed=1), random_image(56, 56, seed=2)]),
        encode("Name a modality."),
    )
    return PromptBatch(prompts, ("a", "b", "c"), (0, 1, 2), 0)


def in_half(nano_policy):
    policy = load_policy(nano_policy.path, dtype="bfloat16")
    policy.processor = nano_policy.processor
    return policy


KEPT = {"logprob_distribution": "filtered", "top_k": 5, "top_p": 0.9}


@pytest.mark.parametrize("settings", [{}, {"micro_batch_tokens": 90}, KEPT])
def test_the_shared_prefix_passes_and_nothing_is_changed(nano_policy, batch, settings):
    nano_policy = load_policy(nano_policy.path)  # what no other test has trained
    config = replace(CONFIG, **settings)
    rollout = sample_rollout(nano_policy, batch, config.sampling)
    for parameter in nano_policy.parameters():
        parameter.grad = None
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    report = verify_prefix(nano_policy, rollout, config)
    assert report.copies == 9 and report.limit == FLOAT32_BAR
    assert 0 < report.error < FLOAT32_BAR and report.logprob_error < 1e-5
    assert report.sampler_error < 1e-5 and report.logprob_limit == GAP_MAX_FLOAT32
    assert report.tokens == rollout.completion_mask.sum() == report.decoded + 9 > 9
    assert report.moved == 0 and report.worst in dict(nano_policy.model.named_parameters())
    assert "9 plain copies" in str(report) and report.worst in str(report)
    assert all(torch.equal(before[n], v) for n, v in nano_policy.state_dict().items())
    assert all(parameter.grad is None for parameter in nano_policy.parameters())


def shifted(prompts, groups):
    positions = packed_positions(prompts, groups)
    positions[..., groups.num_prompt_tokens :] += 1
    return positions


packed_positions = models.policy.packed_positions


@pytest.mark.parametrize("mistake", ["positions", "image", "neighbour"])
def test_a_wrong_prefix_stops_the_run(nano_policy, batch, mistake, monkeypatch):
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    if mistake == "positions":  # completions stand one place too far
        monkeypatch.setattr(models.policy, "packed_positions", shifted)
    elif mistake == "image":  # the vision tower gets no gradient, though every log-prob is right
        features = type(nano_policy).image_features

        def detached(self, prompts):
            return [feature.detach() for feature in features(self, prompts)]

        monkeypatch.setattr(type(nano_policy), "image_features", detached)
    else:  # each row reads the prompt of the next group
        monkeypatch.setattr(
            models.policy.PackedGroups,
            "repeat_prompts",
            lambda self, t: t.roll(1, 0).index_select(0, self.row_to_prompt),
        )
    with pytest.raises(ValueError, match=r"shared prefix is wrong .*nothing was trained"):
        verify_prefix(nano_policy, rollout, CONFIG)


def test_in_bfloat16_the_limit_is_measured(nano_policy, batch):
    policy = in_half(nano_policy)
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    report = verify_prefix(policy, rollout, CONFIG)
    assert 1e-3 < report.error <= report.limit < 1
    assert "plain torch.bfloat16 is" in report.baseline


def test_a_wrong_prefix_is_beyond_the_noise_of_bfloat16_too(nano_policy, batch, monkeypatch):
    policy = in_half(nano_policy)
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    monkeypatch.setattr(models.policy, "packed_positions", shifted)
    with pytest.raises(ValueError, match="shared prefix is wrong"):
        verify_prefix(policy, rollout, CONFIG)


attend_batch = models.vision.tower._attend_batch
runs = models.vision.tower._runs
VISION = {
    "images see one another": ("_runs", lambda bounds: [(1, sum(n * m for n, m in runs(bounds)))]),
    "scores scaled by 0.7": (
        "_attend_batch",
        lambda q, k, v, *, scale: attend_batch(q, k, v, scale=0.7 * scale),
    ),
    "keys for values": (
        "_attend_batch",
        lambda q, k, _v, *, scale: attend_batch(q, k, k, scale=scale),
    ),
}


@pytest.mark.parametrize("mistake", VISION)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_our_own_vision_tower_is_compared_too(nano_policy, batch, mistake, dtype, monkeypatch):
    policy = nano_policy if dtype == "float32" else in_half(nano_policy)
    monkeypatch.setattr(models.vision.tower, *VISION[mistake])
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    with pytest.raises(ValueError, match=r"shared prefix is wrong .*vision tower"):
        verify_prefix(policy, rollout, CONFIG)


def test_our_own_patch_embedding_is_compared_too(nano_policy, batch, monkeypatch):
    embed = nano_policy.visual.patch_embed.forward
    monkeypatch.setattr(nano_policy.visual.patch_embed, "forward", lambda x: embed(x.flip(1)))
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    with pytest.raises(ValueError, match="shared prefix is wrong"):
        verify_prefix(nano_policy, rollout, CONFIG)


rotate = models.decode.eager.rotate


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sampler_that_decodes_another_distribution_stops_the_run(
    nano_policy, batch, dtype, monkeypatch
):
    policy = nano_policy if dtype == "float32" else in_half(nano_policy)
    monkeypatch.setattr(models.decode.eager, "rotate", lambda x, cos, sin: rotate(x, cos, -sin))
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    monkeypatch.undo()
    assert rollout.completion_mask.sum() > 9  # more than the prefill's tokens
    with pytest.raises(ValueError, match=r"the sampler is wrong .*nothing was trained"):
        verify_prefix(policy, rollout, CONFIG)


def test_in_bfloat16_the_samplers_bound_is_the_alarms_or_what_plain_copies_are_away(
    nano_policy, batch
):
    policy = in_half(nano_policy)
    report = verify_prefix(policy, sample_rollout(policy, batch, CONFIG.sampling), CONFIG)
    assert report.logprob_limit >= GAP_MEAN_BFLOAT16
    assert 0 < report.sampler_error < report.logprob_limit
    assert "sampler within" in str(report) and "decoded from the cache" in str(report)


def test_weights_that_moved_since_they_were_loaded_are_counted_and_copied(nano_policy, batch):
    policy = load_policy(nano_policy.path)
    policy.processor = nano_policy.processor
    with torch.no_grad():
        policy.text.norm.weight.mul_(1.5)
    report = verify_prefix(policy, sample_rollout(policy, batch, CONFIG.sampling), CONFIG)
    assert report.moved == 1 and "1 parameters copied from the policy" in str(report)


def test_without_memory_for_a_second_model_the_report_says_so(nano_policy, batch, monkeypatch):
    monkeypatch.setattr(grpo.watch.second_model, "free_memory", lambda _device: 1e5)
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    report = verify_prefix(nano_policy, rollout, CONFIG)
    assert report.copies == 0 and report.sampler_error < 1e-5
    said = r"^NOT compared with transformers: its model needs .* GB .* cpu has 0\.0 GB free"
    assert re.match(said, str(report))
    rollout.completions.logprobs[0, 0] -= 0.01
    with pytest.raises(ValueError, match="the sampler is wrong"):
        verify_prefix(nano_policy, rollout, CONFIG)


def test_the_second_model_stands_on_the_cpu_where_the_gpu_is_full(nano_policy, batch, monkeypatch):
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    gpu, cpu = torch.device("cuda:0"), torch.device("cpu")
    policy = SimpleNamespace(model=nano_policy.model, device=gpu, dtype=torch.bfloat16)
    for free, expected in (
        ({gpu: 1e12, cpu: 1e12}, gpu),
        ({gpu: 1e5, cpu: 1e12}, cpu),
        ({gpu: 1e12, cpu: 1e5}, None),  # the gradients are summed there
    ):
        monkeypatch.setattr(grpo.watch.second_model, "free_memory", free.__getitem__)
        assert place_for_a_copy(policy, rollout)[0] == expected


def test_a_run_stops_whose_weights_are_not_those_of_its_checkpoint(tmp_path, monkeypatch, capsys):
    def load(*args, **options):
        policy = load_policy(*args, **options)
        with torch.no_grad():
            policy.text.norm.weight.mul_(1.01)
        return policy

    monkeypatch.setattr(grpo.policies, "load_policy", load)
    flags = ["--max-steps", "1", "--eval-limit", "2", "--no-eval-blank", "--verify-prefix"]
    assert train.main([*flags, "--output-dir", str(tmp_path / "run")]) == 2
    assert "1 parameters are not those of tiny: the checkpoint was" in capsys.readouterr().err


def test_a_model_of_other_parameters_is_no_second_model(nano_policy):
    model = torch.nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"not the same parameters \(.*the checkpoint was loaded w"
    ):
        take_weights(model, nano_policy)


def test_the_start_models_weights_are_taken_as_the_checkpoints_where_none_moved(nano_policy, batch):
    report = verify_prefix(nano_policy, sample_rollout(nano_policy, batch, CONFIG.sampling), CONFIG)
    assert report.moved == 0
    report.check_weights("tiny")  # raises nothing
    with pytest.raises(ValueError, match="2 parameters are not those of tiny"):
        replace(report, moved=2).check_weights("tiny")


def test_the_report_says_where_the_second_model_stood(nano_policy, batch, monkeypatch):
    """A GPU without room is played by a device that the policy is not on."""
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    elsewhere = torch.device("cpu", 0)
    assert elsewhere != nano_policy.device
    monkeypatch.setattr("grpo.watch.verify.place_for_a_copy", lambda *_: (elsewhere, ""))
    assert "; on cpu:0, cpu has no room" in str(verify_prefix(nano_policy, rollout, CONFIG))


def test_adapters_are_put_into_the_second_model_too(nano_policy, batch):
    policy = LoraPolicy(
        load_policy(nano_policy.path), LoraSettings(2, 4, ("q_proj", "v_proj")), seed=0
    )
    policy.processor = nano_policy.processor
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(0.05)  # so that they say something
    rollout = sample_rollout(policy.sampler(), batch, CONFIG.sampling)
    report = verify_prefix(policy, rollout, CONFIG)
    assert report.copies == 9 and report.error < FLOAT32_BAR
