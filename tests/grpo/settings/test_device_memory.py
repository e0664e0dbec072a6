"""Whether a run fits its device, what to change where not, and whether activations are kept."""

import json
import re
from dataclasses import replace

import pytest
import torch

from grpo.settings.checkpointing import with_checkpointing
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import advice_of, check_memory, fits
from grpo.settings.hardware import resolve_hardware
from grpo.settings.memory_advice import together, ways_to_save
from grpo.settings.run_memory import checkpoint_bytes, image_tokens, memory_of_run, work_of
from scripts.scale.published import config_of
from tests.models.nano import write_checkpoint

pytestmark = pytest.mark.model

GB = 10**9


@pytest.fixture(scope="module")
def two_b(tmp_path_factory) -> GRPOConfig:
    """Return the resolved settings of train.py's defaults for 2B on a GPU."""
    folder = tmp_path_factory.mktemp("2b")
    (folder / "config.json").write_text(json.dumps(config_of("2b").to_dict()))
    return GRPOConfig(
        model=str(folder),
        device="cuda:0",
        reference_device="cuda:0",
        dtype="bfloat16",
        gradient_checkpointing=True,
    )


def test_a_run_of_2b_does_not_fit_24_gb_and_each_way_out_says_what_it_saves(two_b):
    with pytest.raises(ValueError, match="the device has 24") as found:
        check_memory(two_b, 24 * GB)
    said = str(found.value)
    saved = {
        flag: float(size) for flag, size in re.findall(r"(--[a-z-]+)[^;]*? saves ([0-9.]+)", said)
    }
    # a bf16 copy of the model in its layers; of the tower 4 + 8 + 4 bytes a weight, and its copy
    assert saved["--reference-device"] == pytest.approx(3.9, abs=0.1)
    assert saved["--freeze-vision"] == pytest.approx((16 + 2) * 0.665 - 1.1, abs=0.5)
    assert saved["--beta"] == pytest.approx(4.4, abs=0.1)


def test_what_is_advised_is_in_the_order_of_its_cost_and_lowers_the_sum(two_b):
    ways = ways_to_save(replace(two_b, gradient_checkpointing=False), ranks=1)
    flags = [way.flags.split()[0] for way in ways]
    assert flags.index("--micro-batch-tokens") < flags.index("--gradient-checkpointing")
    assert flags.index("--gradient-checkpointing") < flags.index("--reference-device")
    assert flags.index("--reference-device") < flags.index("--freeze-vision")
    now = memory_of_run(replace(two_b, gradient_checkpointing=False), ranks=1).total
    for way in ways:
        assert way.estimate.total == now - way.saved < now


def test_what_suffices_together_is_said_where_there_is_such_a_thing(two_b):
    flags = together(two_b, 1, 42 * GB)
    assert "--reference-device cpu" in flags
    total = memory_of_run(two_b, ranks=1).total
    assert "Together these fit: " in check_memory(two_b, total)
    assert together(two_b, 1, 1 * GB) == []


def test_only_what_lowers_the_sum_is_advised(two_b):
    """sft refuses the reference's flags by name; who froze the tower need not hear of it."""
    sft = replace(two_b, method="sft", mode="no_think", beta=0.0, freeze_vision=True)
    named = " ".join(way.flags for way in ways_to_save(sft, ranks=1))
    for flag in ("--beta", "--reference-device", "--freeze-vision", "--gradient-checkpointing"):
        assert flag not in named


def test_a_run_with_a_schedule_of_its_kl_is_advised_as_any_other(two_b):
    """What only a KL uses goes with it: else the advice itself would be refused."""
    rising = {"beta": 0.0, "beta_final": 0.1, "beta_schedule": "linear", "kl_estimator": "k2"}
    config = replace(two_b, **rising, reference_sync=100)
    assert memory_of_run(config, ranks=1).total == memory_of_run(two_b, ranks=1).total
    assert {"--beta", "--reference-device", "--lora-rank"} <= set(flags_for(config))


def flags_for(config: GRPOConfig) -> list[str]:
    """What each advised way begins with, its number left out."""
    return [way.flags.split()[0] for way in ways_to_save(config, ranks=1)]


def test_on_a_cpu_nothing_of_a_card_is_advised(two_b):
    cpu = replace(two_b, device="cpu", reference_device="cpu", dtype="float32")
    cpu = replace(cpu, gradient_checkpointing=False)
    flags = flags_for(cpu)
    assert {"--gradient-checkpointing", "--beta", "--freeze-vision"} <= set(flags)
    cards = {"--reference-device", "--offload-optimizer", "--optimizer", "torchrun"}
    assert not cards & set(flags)


def test_moments_that_have_their_place_already_are_not_advised_another(two_b):
    assert {"--offload-optimizer", "--optimizer"} <= set(flags_for(two_b))
    assert not {"--offload-optimizer", "--optimizer"} & set(
        flags_for(replace(two_b, offload_optimizer=True))
    )
    assert not {"--offload-optimizer", "--optimizer"} & set(
        flags_for(replace(two_b, optimizer="adamw_8bit"))  # which go together with no other place
    )


def test_with_adapters_neither_more_adapters_nor_a_frozen_tower_are_advised(two_b):
    assert "--lora-rank" in flags_for(two_b)
    flags = flags_for(replace(two_b, lora_rank=16))
    assert not {"--lora-rank", "--freeze-vision", "--beta", "--reference-device"} & set(flags)


def test_a_micro_batch_is_never_advised_that_holds_no_whole_completion(two_b):
    short = replace(two_b, micro_batch_tokens=2 * two_b.max_completion_tokens)
    assert "--micro-batch-tokens" not in flags_for(short)


def test_where_nothing_helps_that_is_said(two_b):
    least = {"device": "cpu", "reference_device": "cpu", "lora_rank": 16, "beta": 0.0}
    tokens = {"micro_batch_tokens": two_b.max_completion_tokens + 1}
    assert advice_of(replace(two_b, **least, **tokens), 1, GB) == "No setting saves much of it"


def test_a_checkpoint_takes_what_is_trained_and_what_moves_it(two_b):
    whole = checkpoint_bytes(two_b)
    weights = checkpoint_bytes(replace(two_b, save_weights_only=True))
    assert whole == weights * 7  # 2 bytes a weight, and 4 for its master and for each moment
    frozen = checkpoint_bytes(replace(two_b, freeze_vision=True))
    assert weights < frozen < whole
    small = checkpoint_bytes(replace(two_b, optimizer="adamw_8bit"))
    assert frozen > small > weights * 4
    adapters = replace(two_b, lora_rank=16)
    synced, steps = replace(two_b, reference_sync=100), range(200)
    reference = checkpoint_bytes(synced, steps) - whole
    assert reference == weights  # in bfloat16, as the model is
    assert checkpoint_bytes(synced, range(100)) == checkpoint_bytes(two_b, steps) == whole
    assert checkpoint_bytes(replace(synced, save_weights_only=True), steps) == weights
    alone = checkpoint_bytes(replace(adapters, save_weights_only=True))
    assert checkpoint_bytes(adapters) == 3 * alone < weights / 10  # float32, and two moments


def test_the_default_run_of_2b_is_not_silent_on_a_card_that_it_nearly_fills(two_b):
    total = memory_of_run(two_b, ranks=1).total
    assert "within 5% of it: it may run out" in check_memory(two_b, 1.02 * total)
    assert "more than that: it may run out" in check_memory(two_b, 0.999 * total)
    assert check_memory(two_b, 80 * GB) is None


def test_activations_that_do_not_fit_are_a_warning_and_no_error(two_b):
    large = replace(two_b, gradient_checkpointing=False, micro_batch_tokens=8192)
    needed = memory_of_run(large, ranks=1)
    assert needed.resident < 0.8 * needed.total
    assert "--gradient-checkpointing saves" in check_memory(large, 0.9 * needed.total)


def test_several_cards_are_asked_for_what_each_needs(two_b):
    alone, eight = (memory_of_run(two_b, ranks=ranks) for ranks in (1, 8))
    assert eight.total < alone.total / 2
    assert check_memory(two_b, 24 * GB, ranks=8) is None
    with pytest.raises(ValueError, match="of each card"):
        check_memory(two_b, 5 * GB, ranks=8)


@pytest.mark.parametrize(("gigabytes", "checkpoints"), [(141, False), (80, False), (48, True)])
def test_activations_are_kept_where_all_fits_and_the_choice_is_said(
    two_b, monkeypatch, gigabytes, checkpoints
):
    class Card:
        total_memory = gigabytes * GB

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Card)
    config, why = with_checkpointing(replace(two_b, gradient_checkpointing=None))
    assert config.gradient_checkpointing is checkpoints
    kept = memory_of_run(replace(two_b, gradient_checkpointing=False))
    assert fits(kept, Card.total_memory) is not checkpoints
    word = "on" if checkpoints else "off"
    needs = f"{kept.total / 1e9:.1f} of {gigabytes:.1f} GB"
    assert why == f"gradient checkpointing: {word} (without it the run needs about {needs})"


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_asked_for_is_neither_changed_nor_said(two_b, asked):
    """A run that goes on has the choice of its beginning: run.json says it."""
    config = replace(two_b, gradient_checkpointing=asked)
    assert with_checkpointing(config) == (config, "")


def test_a_device_that_is_no_card_recomputes_activations_where_it_is_to_act_as_one(monkeypatch):
    monkeypatch.setattr("grpo.settings.checkpointing.may_checkpoint", lambda _device: True)
    config, why = with_checkpointing(GRPOConfig(device="cpu"))
    assert config.gradient_checkpointing is True and why == ""


def test_a_cpu_keeps_activations_as_ever(capsys):
    assert resolve_hardware(GRPOConfig(device="cpu")).gradient_checkpointing is False
    assert capsys.readouterr().out == ""


def test_the_flags_that_save_memory_lower_the_estimate(tmp_path):
    model = str(write_checkpoint(tmp_path / "nano"))
    plain = resolve_hardware(GRPOConfig(model=model, device="cpu", dtype="bfloat16"))
    total = memory_of_run(plain).total
    for change in (
        {"beta": 0.0},
        {"freeze_vision": True},
        {"gradient_checkpointing": True},
        {"micro_batch_tokens": 1024},
        {"image_size": 112},
    ):
        assert memory_of_run(replace(plain, **change)).total < total, change
    assert memory_of_run(replace(plain, reference_device="cuda")).host["reference"] > 0


def test_decoding_graphs_are_counted_where_they_run(tmp_path):
    model = str(write_checkpoint(tmp_path / "nano"))
    cpu = resolve_hardware(GRPOConfig(model=model, device="cpu", dtype="bfloat16"))
    cuda = replace(cpu, device="cuda:0", reference_device="cuda:0")
    sft = replace(cuda, method="sft", mode="no_think")
    assert memory_of_run(cpu).of("graphs") == 0 == memory_of_run(sft).of("graphs")
    larger = replace(cuda, group_size=4 * cuda.group_size)
    caches = [memory_of_run(run).of("decode cache") for run in (cuda, larger)]
    assert 0 < caches[0] < caches[1]
    assert memory_of_run(cuda).staying > memory_of_run(sft).staying


def test_a_process_has_its_own_prompts_and_images_of_one_size(two_b):
    assert work_of(two_b, ranks=1, prompt_tokens=None).prompts == 4
    assert work_of(two_b, ranks=3, prompt_tokens=None).prompts == 2
    assert work_of(two_b, ranks=1, prompt_tokens=None).patches == 784
    assert work_of(two_b, ranks=1, prompt_tokens=90).prompt_tokens == 90
    assert image_tokens(0) == image_tokens(384) == 196 and image_tokens(28) == 1


def test_a_prompt_of_words_alone_and_one_of_several_images_have_their_own_sums(two_b):
    words, three = (work_of(two_b, ranks=1, prompt_tokens=None, images=n) for n in (0, 3))
    assert (words.patches, words.prompt_tokens) == (0, 128)
    assert (three.patches, three.prompt_tokens) == (3 * 784, 3 * 196 + 128)
    plain = replace(two_b, gradient_checkpointing=False)
    none, one, several = (memory_of_run(plain, images=n) for n in (0, 1, 3))
    # about 1.5 GB of the tower's own for each image at hand: of three prompts with one each, then
    # of two with three, whose completions are fewer in exchange
    assert (words.prompts_at_once, three.prompts_at_once) == (3, 2)
    assert one.total - none.total > 3 * 1.4e9 and several.total - one.total > 2e9
