"""`python scripts/simulate_scale.py`: what it prints, what it writes, what it says to mistakes."""

import json

import pytest

from scripts.simulate_scale import main


def test_it_prints_shards_communication_and_seconds_of_seven_billion_weights(capsys, tmp_path):
    file = tmp_path / "found.json"
    assert main(["--model", "7b", "--gpus", "64", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "8,291,375,616" in printed and "16.58 GB" in printed
    assert "float32 weights that AdamW moves" in printed  # of the memory
    for title in (
        "Memory of a GPU",
        "Shards over 64 GPUs",
        "Communication of a step",
        "Time of a step",
    ):
        assert title in printed
    assert "does not fit" not in printed
    (found,) = json.loads(file.read_text(encoding="utf-8"))
    assert found["shards"] == {"largest": 129_552_744, "smallest": 129_552_744, "whole": 0}
    sent = found["communication"]
    # 28 layers, 32 blocks, the root; four micro-batches.
    assert sent["forward"]["calls"] == sent["reductions"]["calls"] == 4 * 61
    assert sent["backward"]["calls"] == 4 * 60
    assert sent["reference"]["calls"] == 4 * 28 + 1
    assert sent["sampler"] == {"calls": 61, "carried": 2 * 64 * 129_552_744}
    # A 64th of the master, all of the copy that decodes.
    assert found["memory"]["master"] == -(-8_291_375_616 // 64) * 4
    assert found["memory"]["sampler"] == 2 * 8_291_375_616
    assert found["dominating"] in ("rollout", "update", "network", "reference")


def test_several_numbers_are_one_table_and_a_copy_too_large_is_told(capsys):
    assert main(["--model", "72b", "--gpus", "8", "1024"]) == 0
    printed = capsys.readouterr().out
    assert "73,405,560,320" in printed and "147 GB" in printed
    assert "does not fit the card" in printed
    assert main(["--model", "72b"]) == 0
    assert "more than the card has" in capsys.readouterr().out
    assert "1,024" in printed and "4,096" in printed  # GPUs, prompts
    assert main(["--model", "2.5-32b", "--gpus", "8", "--card", "h200"]) == 0
    assert "does not fit" not in capsys.readouterr().out


def test_a_frozen_tower_stays_whole_and_no_reference_is_gathered(capsys, tmp_path):
    file = tmp_path / "found.json"
    flags = ["--model", "2b", "--freeze-vision", "--beta", "0", "--no-reshard-after-forward"]
    assert main([*flags, "--gpus", "3", "--prompts-per-step", "5", "--json", str(file)]) == 0
    capsys.readouterr()
    (found,) = json.loads(file.read_text(encoding="utf-8"))
    assert found["work"]["N"] == 2  # of five groups one process has two
    assert found["shards"]["whole"] == 665_271_296
    assert found["communication"]["reference"]["calls"] == 0
    assert found["communication"]["backward"]["calls"] == 0
    assert found["communication"]["forward"]["calls"] == 29 * found["work"]["micro_batches"]


@pytest.mark.parametrize("flag", ["--gpus", "--group-size", "--gpus-per-node"])
def test_a_number_that_cannot_be_is_refused(capsys, flag):
    assert main([flag, "0"]) == 2
    assert f"error: {flag} must be at least 1: got 0" in capsys.readouterr().err
