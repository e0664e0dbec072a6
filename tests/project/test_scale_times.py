"""Communication and seconds of the cost model, by examples that are worked by hand."""

import importlib
from dataclasses import replace

import pytest

from scripts.scale.cards import CARDS, Card, Shares
from scripts.scale.communication import Communication, Traffic, sampled_bytes, step_communication
from scripts.scale.published import config_of
from scripts.scale.shards import Shards, Unit
from scripts.scale.sizes import TextSizes, sizes_of
from scripts.scale.times import ADAMW_BYTES, Machine, StepTime, decode_seconds
from scripts.scale.workload import Workload
from tests.places import ROOT

# Two layers of 10 rows of 2, and a root of one row too many for 4 processes: 24 and 8 x 3 numbers.
SHARDS = Shards((Unit("a", ((10, 2),)), Unit("b", ((10, 2),)), Unit("root", ((5, 3),))), 2)
FROZEN = Shards((Unit("a", ((10, 2),)), Unit("root", ((2, 3),))), 1)  # 24 and 4 x 3
WORK = Workload(N=3, G=2, P=10, C=5, K=4, budget=20)  # a group of 20 tokens: three micro-batches


def test_what_a_step_sends_is_counted_unit_by_unit():
    layer, root = 24, 24
    assert step_communication(SHARDS, FROZEN, WORK, 4) == Communication(
        forward=Traffic(9, 3 * 2 * (2 * layer + root)),
        backward=Traffic(6, 3 * 2 * 2 * layer),
        reductions=Traffic(9, 3 * 4 * (2 * layer + root)),
        sampler=Traffic(3, 2 * (2 * layer + root)),
        reference=Traffic(4, 3 * 2 * layer + 2 * 12),
    )
    assert Traffic(9, 400).sent(4) == 300


def test_weights_that_are_kept_and_a_missing_reference_send_nothing():
    kept = step_communication(SHARDS, FROZEN, WORK, 4, keeps=True)
    assert kept.backward == Traffic()
    assert (
        step_communication(SHARDS, FROZEN, replace(WORK, reference=False), 4).reference == Traffic()
    )
    assert step_communication(SHARDS, FROZEN, WORK, 1).total == Traffic()
    assert (sampled_bytes(WORK, 4), sampled_bytes(WORK, 1)) == (17 * 30 * 4, 0)


def test_groups_share_micro_batches_while_they_fit_and_are_cut_when_one_does_not():
    assert (WORK.micro_batches, WORK.pieces) == (3, 1)
    assert replace(WORK, budget=40).micro_batches == 2
    assert replace(WORK, budget=19).pieces == 2  # one row a piece
    assert replace(WORK, budget=19).micro_batches == 6
    assert WORK.of_rank(2).N == 2  # of three groups one process has two


PLAIN = Shares(compute=1.0, bandwidth=1.0, network=1.0, hop_seconds=0.0, logit_passes=0)


def test_a_ring_is_as_fast_as_its_slower_part():
    card = Card("made up", 1.0, 1.0, 1.0, link=10.0, network=1.0, per_node=2)
    inside = Machine(card, 2, PLAIN)
    assert inside.send(Traffic(1, 100)) == 100 / 2 / 10
    # Three nodes: two thirds come from outside, by two adapters.
    assert Machine(card, 6, PLAIN).send(Traffic(1, 120)) == pytest.approx(80 / 2)
    slow = replace(PLAIN, network=0.5, hop_seconds=3.0)
    assert Machine(card, 2, slow).send(Traffic(4, 100)) == 4 * 3 + 100 / 2 / 10 / 0.5
    assert Machine(card, 1, slow).send(Traffic(4, 100)) == 0


def test_decoding_reads_weights_once_a_step_and_each_prompt_once_a_group():
    text = TextSizes(width=4, mlp=8, layers=2, vocabulary=10, heads=2, kv_heads=1, tied=True)
    # 2 (32 + 16 + 4 + 4 + 96 + 8) + 4 + 40
    assert text.decode_weights == 364
    work = Workload(N=2, G=3, P=7, C=3, K=0)
    cached = 2 * 2 * 2  # 2 L Hkv d of a token
    steps = sum(2 * (364 + cached * (2 * 7 + 6 * token)) for token in (1, 2))
    card = Card("reads slowly", 1e30, 1.0, 1.0, 1.0, 1.0)
    assert decode_seconds(text, work, Machine(card, 1, PLAIN)) == steps + 2 * 10 * 4
    # Six rows' logits, read or written once at each of three tokens.
    once = Machine(card, 1, replace(PLAIN, logit_passes=1))
    assert decode_seconds(text, work, once) == steps + 80 + 3 * 4 * 6 * 10
    # A card that computes slowly waits for its products instead.
    flops = sum(6 * (2 * 364 + 4 * 2 * 4 * (7 + token)) for token in (1, 2))
    slow = Machine(Card("computes slowly", 1.0, 1e30, 1.0, 1.0, 1.0), 1, PLAIN)
    assert decode_seconds(text, work, slow) == pytest.approx(flops)


def test_decoding_reads_what_the_bars_of_gpu_benchmarks_count(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bounds = importlib.import_module("gpu_bounds")
    config = config_of("7b")
    text, work = sizes_of(config).text, Workload(N=2, G=3, P=7, C=5, K=0)
    fields = config.text_config.to_dict()
    counted = bounds.decode_bytes(fields, prompt_tokens=14, rows=6, C=5)
    card = Card("reads slowly", 1e30, 1.0, 1.0, 1.0, 1.0)
    head = 2 * text.vocabulary * text.width  # the first token's, which the bar leaves out
    assert decode_seconds(text, work, Machine(card, 1, PLAIN)) == counted + head
    assert text.decode_weights == bounds.text_weights(fields)


def test_what_dominates_is_the_network_only_where_passes_wait_for_it():
    given = {"prompts": 1.0, "decode": 4.0, "sampler": 1.0, "reference": 2.0, "update": 6.0}
    time = StepTime(
        **given, adamw=0.5, update_network=3.0, reference_network=1.0, completion_tokens=29
    )
    assert (time.total, time.tokens_per_second) == (14.5, 2.0)
    assert time.dominating == "update"
    assert replace(time, update_network=6.0).dominating == "network"
    assert replace(time, decode=10.0).dominating == "rollout"


def test_cards_are_what_their_data_sheets_say():
    assert CARDS["h200"].memory > CARDS["h100"].memory > CARDS["l40s"].memory
    assert CARDS["h100"].with_(network=1e9).network == 1e9
    assert ADAMW_BYTES == 40
