"""The cost model's communication is what two processes send, to the last call and the last byte."""

import json

import pytest
from transformers import AutoConfig

from models.memory import weightless
from scripts.scale.communication import Traffic, step_communication
from scripts.scale.shards import shards_of
from scripts.scale.workload import Workload
from tests.models.nano import FAMILIES, write_checkpoint
from tests.project.scale_sent import CASES, SIDE, C, G, N
from tests.whole.torchrun import run

pytestmark = pytest.mark.slow

WORLD = 2
GATHERED, REDUCED = "_allgather_base_", "_reduce_scatter_base_"


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent")
    for family in FAMILIES:
        write_checkpoint(folder / family, family)
    run(["-m", "tests.project.scale_sent", folder], processes=WORLD).check()
    configs = {family: AutoConfig.from_pretrained(folder / family) for family in FAMILIES}
    return configs, json.loads((folder / "sent.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_every_pass_sends_what_the_model_says(sent, name):
    configs, found = sent
    case, measured = CASES[name], found[name]
    frozen = case.get("frozen", False)
    model = weightless(configs[case["family"]])
    shards, without_tower = (shards_of(model, frozen_vision=flag) for flag in (frozen, True))
    side = SIDE // 14
    work = Workload(
        **{"N": N, "G": G, "P": measured["tokens"], "C": C, "K": side**2},
        budget=case["budget"],
        frozen_vision=frozen,
    )
    weight_bytes = 2 if case.get("dtype") == "bfloat16" else 4
    keeps = case.get("keeps", False)
    expected = step_communication(
        shards, without_tower, work, WORLD, weight_bytes=weight_bytes, keeps=keeps
    )
    assert measured["sampler"] == {GATHERED: as_list(expected.sampler)}
    assert measured["update"] == {
        GATHERED: as_list(expected.forward + expected.backward),
        REDUCED: as_list(expected.reductions),
    }
    assert measured["reference"] == {GATHERED: as_list(expected.reference)}


def as_list(traffic: Traffic) -> list[int]:
    return [traffic.calls, traffic.carried]
