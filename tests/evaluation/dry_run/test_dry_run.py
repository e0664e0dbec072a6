"""train.py --dry-run: what a run would do and need, and nothing written."""

import json
import re

import pytest

import train
from evaluation.dry_run.needs import disk_lines, step_lines
from evaluation.dry_run.settings_lines import settings_lines
from evaluation.dry_run.trial import evaluations
from grpo.settings.config import GRPOConfig
from grpo.settings.run_memory import checkpoint_bytes

pytestmark = pytest.mark.command

SMALL = ["--max-steps", "3", "--prompts-per-step", "2", "--group-size", "2", "--eval-limit", "4"]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder to work in, which has to stay as it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_settings_data_memory_steps_and_disk_and_writes_nothing(empty, capsys):
    assert train.main(["--dry-run", "--output-dir", "run", *SMALL]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert list(empty.iterdir()) == []
    assert "--max-steps 3 (given)" in printed and "--image-size 84 (configs/phantoms" in printed
    assert "by default: model tiny, train_json phantoms" in printed
    assert "train: 6,400 rows of phantoms " in printed and "4 options each" in printed
    assert "eval: 800 rows of phantoms, a sample of 4 is asked" in printed
    assert "1 image each" in printed and "modality: CT 800" in printed
    assert "tokens, median 71, of 6,400 rows; with 24 of completion" in printed
    for part in ("weights", "moments", "gradients", "reference", "decode cache", "activations"):
        assert re.search(rf" {part} [0-9.]+ [MG]B", printed), part
    assert "shared by several processes (torchrun): 2 need" in printed
    assert "fits: " in printed
    assert "3 steps of 2 questions, 4 completions: 0.00 epochs of 6,400 rows" in printed
    assert "a checkpoint takes about 14.1 MB" in printed
    assert printed.endswith("dry run: nothing was written")
    assert "run directory" not in printed


def test_trial_steps_say_how_long_it_takes_and_a_run_afterwards_is_the_same(empty, capsys):
    flags = [*SMALL, "--output-dir", "run", "--save-every", "2"]
    assert train.main(["--dry-run", "--trial-steps", "2", *flags]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"a step takes [0-9.]+ s \(.*update [0-9.]+\): 3 steps", printed)
    assert re.search(r"an evaluation takes about .*: 2 of them", printed)
    assert list(empty.iterdir()) == []
    # what is left of a run: its last step, and what it says of settings
    assert train.main(flags) == 0
    before = {path: path.read_bytes() for path in empty.rglob("*") if path.is_file()}
    capsys.readouterr()
    dry = ["--resume", "run", "--max-steps", "5", "--dry-run", "--trial-steps", "1"]
    assert train.main(dry) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 are done, 2 are left" in printed and "--max-steps 5 (given)" in printed
    assert "by default:" not in printed  # all of them are the run's
    assert "--group-size 2 (run.json)" in printed and "of 1 trial step " in printed
    after = {path: path.read_bytes() for path in empty.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--group-size", "1", "--temperature", "0"], "group_size=1 must be at least 2"),
        (["--rewards", "acuracy"], "acuracy"),
    ],
)
def test_what_is_wrong_ends_it_as_it_ends_a_run(empty, capsys, flags, said):
    assert train.main(["--dry-run", *flags]) == 2
    assert said in capsys.readouterr().err
    assert list(empty.iterdir()) == []


def test_trial_steps_alone_are_refused(capsys):
    assert train.main(["--trial-steps", "2"]) == 2
    assert "--trial-steps are of a dry run: give --dry-run too" in capsys.readouterr().err
    assert train.main(["--dry-run", "--trial-steps", "-1"]) == 2
    assert "must not be negative" in capsys.readouterr().err


def test_settings_that_were_given_stand_first_with_their_origin():
    lines = settings_lines(GRPOConfig(beta=0.0), {"beta": "given"})
    assert lines[1] == "  --beta  0.0  (given)"
    assert " beta " not in lines[2] and "freeze_vision off" in " ".join(lines[2].split())


def test_steps_and_disk_by_hand():
    config = GRPOConfig(prompts_per_step=4, group_size=4, save_every=10, keep_checkpoints=2)
    said = " ".join(step_lines(config, rows=100, done=10, total=50))
    assert "50 steps of 4 questions, 16 completions: 2.00 epochs" in said
    assert "10 are done, 40 are left" in said and "dynamic" not in said
    config = GRPOConfig(prompts_per_step=4, dynamic_sampling=3)
    said = " ".join(step_lines(config, rows=100, done=0, total=50))
    assert "100 rows; dynamic sampling draws up to 3 times as many again" in said
    config = GRPOConfig(dtype="float32", reference_device="cpu", device="cpu")
    # float32 weights are their own master: 4 bytes, and two moments of 4
    count = checkpoint_bytes(config) // 12
    assert checkpoint_bytes(GRPOConfig(**{**vars(config), "dtype": "bfloat16"})) == 14 * count
    assert checkpoint_bytes(GRPOConfig(**{**vars(config), "save_weights_only": True})) == 4 * count
    assert "3 at a time" in disk_lines(config, 0, 1000)[1]


@pytest.mark.parametrize(
    ("every", "done", "count"), [(0, 0, 2), (0, 5, 1), (10, 0, 4), (10, 15, 2), (7, 0, 6)]
)
def test_evaluations_that_are_left_by_hand(every, done, count):
    class Trainer:
        config = GRPOConfig(eval_every=every)
        total_steps = 30

    Trainer.done = done
    assert evaluations(Trainer) == count


def test_a_checkpoint_is_as_large_as_it_is_told(empty):
    assert train.main([*SMALL, "--max-steps", "1", "--output-dir", "run"]) == 0
    checkpoint = empty / "run" / "checkpoints" / "step-000001"
    sizes = [p.stat().st_size for p in checkpoint.rglob("*.safetensors") if "rng" not in p.name]
    config = json.loads((empty / "run" / "run.json").read_text())["config"]
    told = checkpoint_bytes(
        GRPOConfig(**{**config, **{k: tuple(v) for k, v in config.items() if isinstance(v, list)}})
    )
    assert sum(sizes) == pytest.approx(told, rel=0.02)
