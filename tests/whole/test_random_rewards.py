"""A reward that draws random numbers is reproducible: by its seed, and over an interruption."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import train

# It draws from all four, an odd number of times, so that half a pair of normal numbers is put
# aside; and it breaks off once, in the middle of a step, when a file says so.
REWARD = """
import random
from pathlib import Path
import numpy as np
import torch

AT_IMPORT = random.random() + np.random.rand()

def drawn(completion, example, mode):
    stop = Path(__file__).with_name("stop.txt")
    value = random.random() + random.gauss(0, 1) + np.random.rand() + np.random.randn()
    if stop.is_file():
        count = int(stop.read_text()) - 1
        stop.write_text(str(count))
        if count == 0:
            stop.unlink()
            raise KeyboardInterrupt
    return value + float(torch.rand(())) + AT_IMPORT
"""
TRUSTED = ["--trust-reward-file"]
TRIED = 16  # calls before the first step


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("drawn")
    (place / "own.py").write_text(REWARD, encoding="utf-8")
    return place


def started(folder: Path, name: str, *flags: str) -> int:
    return train.main(
        [
            *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56"),
            *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "3"),
            *("--learning-rate", "1e-4", "--warmup-steps", "0", "--device", "cpu", "--seed", "7"),
            *("--rewards", f"{folder / 'own.py'}:drawn", "--max-steps", "3", *flags),
            *("--output-dir", str(folder / name)),
        ]
    )


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    assert started(folder, "whole") == 0
    return folder / "whole"


def drawn(run: Path) -> tuple[bytes, bytes]:
    rng = run / "checkpoints/step-000003/trainer/rng.safetensors"
    return (run / "rollouts.jsonl").read_bytes(), rng.read_bytes()


def test_two_runs_of_one_seed_draw_the_same_whatever_was_drawn_before(folder, whole):
    random.random(), np.random.rand(), torch.rand(5)
    assert started(folder, "again") == 0
    assert drawn(folder / "again") == drawn(whole)
    assert started(folder, "other", "--seed", "8") == 0
    assert drawn(folder / "other")[0] != drawn(whole)[0]


def test_broken_off_in_the_middle_of_a_step_it_goes_on_with_the_same_numbers(folder, whole):
    (folder / "stop.txt").write_text(str(TRIED + 3 + 2))  # the second completion of the second step
    assert started(folder, "broken") == 130
    assert [path.name for path in (folder / "broken/checkpoints").iterdir()] == ["step-000001"]
    assert train.main(["--resume", str(folder / "broken"), *TRUSTED]) == 0
    assert drawn(folder / "broken") == drawn(whole)


def test_a_checkpoint_of_an_earlier_version_goes_on_and_says_what_is_seeded_anew(folder, capsys):
    assert started(folder, "old") == 0
    rng = folder / "old/checkpoints/step-000003/trainer/rng.safetensors"
    save_file({"cpu": load_file(rng)["cpu"]}, rng)
    (rng.parents[1] / "manifest.json").unlink()  # there were none, either
    assert train.main(["--resume", str(folder / "old"), "--max-steps", "4", *TRUSTED]) == 0
    assert capsys.readouterr().out.count("no state of the generators python, numpy: seeded") == 1


def test_a_notebooks_own_generators_are_left_where_they_were(folder):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert started(folder, "beside", "--max-steps", "1") == 0
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
