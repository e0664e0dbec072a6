"""`python train.py` as a user runs it: files in, a run directory out, and what it says to mistakes.

On a random nano model and a handful of real image files; what is learned is test_learning.py's.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from evaluation.heldout import HeldOut
from grpo.optimizer import PolicyOptimizer
from grpo.run.directory import RunDirectory
from grpo.trainer import Trainer
from models.devices import default_dtype
from rewards.parsing import parse_completion
from tests.models.nano import FAMILIES, random_image, write_checkpoint

STEPS = 4
TIMES = ("time/", "_per_second")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A model of each family, images of several sizes, and a split in the published format."""
    folder = tmp_path_factory.mktemp("files")
    images = folder / "Images" / "NanoSet"
    images.mkdir(parents=True)
    for index in range(6):
        random_image(60 + 20 * index, 80, seed=index).save(images / f"{index}.png")
    for part, count in (("train", 9), ("test", 5)):
        rows = [
            {
                "image": f"Images/NanoSet/{i % 6}.png",
                "problem": f"What is seen in image {i}? A)CT, B)MRI, C)Ultrasound",
                "solution": f"<answer> {'ABC'[i % 3]} </answer>",
            }
            for i in range(count)
        ]
        (folder / f"CT_{part}.json").write_text(json.dumps(rows))
    named = {family: str(write_checkpoint(folder / family, family)) for family in FAMILIES}
    named |= {"train": str(folder / "CT_train.json"), "test": str(folder / "CT_test.json")}
    return named | {"root": str(folder)}


@pytest.fixture
def arguments(files):
    """The flags of a short run, without its output directory."""
    return [
        *("--model", files["qwen2_vl"], "--train-json", files["train"]),
        *("--eval-json", files["test"], "--image-root", files["root"]),
        *("--image-size", "56", "--max-completion-tokens", "8", "--max-steps", str(STEPS)),
        *("--prompts-per-step", "2", "--group-size", "3", "--learning-rate", "1e-3"),
        *("--rewards", f"{Path(__file__).parent / 'own_rewards.py'}:ascii_count", "format"),
        *("--save-every", "2", "--device", "cpu"),
    ]


def run(*arguments) -> int:
    return train.main([str(argument) for argument in arguments])


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def without_times(rows: list[dict]) -> list[dict]:
    return [
        {name: value for name, value in row.items() if not any(t in name for t in TIMES)}
        for row in rows
    ]


def error_of(capsys, *arguments) -> str:
    """Run a mistake; return its one message, having checked that it is one."""
    assert run(*arguments) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    message = printed[printed.index("error: ") :]
    assert message.count("error: ") == 1
    return message


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_leaves_everything_the_contract_names(files, arguments, family, tmp_path, capsys):
    arguments[1] = files[family]
    out = tmp_path / "run"
    assert run(*arguments, "--output-dir", out) == 0
    printed = capsys.readouterr().out
    assert "held-out accuracy" in printed and "all of them" in printed
    assert "log-probabilities: backend torch (the kernels need a GPU and this is cpu)" in printed
    assert f"next: python evaluate.py --model {out}/checkpoints/step-000004" in printed

    assert printed.rstrip().endswith(f"report: {out / 'report.html'}")
    page = (out / "report.html").read_text()
    assert "a group of 3" in page and "data:image/jpeg;base64," in page and "://" not in page

    description = json.loads((out / "run.json").read_text())
    assert description["config"]["device"] == "cpu"
    assert f"torch.{description['config']['dtype']}" == str(default_dtype(torch.device("cpu")))
    assert {"torch", "transformers"} <= description["versions"].keys()
    assert description["logprob_backend"]["name"] == "torch"
    kinds = ("train data", "eval data", "reward", "prompt template", "start model")
    assert all(any(name.startswith(kind) for name in description["checksums"]) for kind in kinds)

    metrics = lines(out / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [1, 2, 3, 4]
    gap_limit = 1e-4 if description["config"]["dtype"] == "float32" else 0.1
    assert metrics[0]["grad_norm"] > 0 and metrics[0]["logprob_gap/max"] < gap_limit
    assert metrics[0]["kl"] == pytest.approx(0, abs=1e-6) and metrics[3]["kl"] > 1e-5

    rows = lines(out / "rollouts.jsonl")
    assert len(rows) == STEPS * 2 * 3 and [row["index"] for row in rows[:6]] == [0, 1, 2, 0, 1, 2]
    assert rows[0]["images"][0].endswith(".png") and rows[0]["modality"] == "CT"
    group = [row["advantage"] for row in rows[:3]]
    assert sum(group) == pytest.approx(0, abs=1e-5)
    for row in rows:
        assert row["reward"] == pytest.approx(sum(row["rewards"].values()))
        assert row["rewards"]["ascii_count"] == sum(c < "\x80" for c in row["completion"])

    evaluations = sorted(file.name for file in (out / "eval").iterdir())
    assert evaluations == ["step-000000.json", "step-000004.json"]
    summary = json.loads((out / "eval" / "step-000000.json").read_text())
    assert summary["blank"]["overall"]["n"] == 5
    assert summary["overall"]["n"] == 5 and summary["by_modality"]["CT"]["chance"] == 1 / 3
    saved = sorted(p.name for p in (out / "checkpoints").glob("step-*"))
    assert saved == ["step-000002", "step-000004"]
    card = json.loads((out / "checkpoints" / "step-000004" / "groupwise.json").read_text())
    assert card["mode"] == "think" and card["image_size"] == 56 and card["step"] == 4
    assert "{question}" in card["prompt_template"] and card["max_completion_tokens"] == 8


class PowerCut(BaseException):
    """What nothing can catch in time to save."""


@pytest.mark.parametrize(
    ("interruption", "saved", "extra"),
    [
        (PowerCut, 2, []),  # the checkpoint of step 2 is the newest
        (PowerCut, 2, ["--shuffle-options", "--num-iterations", "2"]),
        (PowerCut, 2, ["--shuffle-options", "--curriculum", "pass_rate"]),
        (KeyboardInterrupt, 3, ["--curriculum", "pass_rate"]),
        (KeyboardInterrupt, 3, []),  # what was done is saved first
        (ValueError, 3, []),
    ],
)
def test_an_interrupted_run_goes_on_bitwise(
    arguments, interruption, saved, extra, tmp_path, monkeypatch, capsys
):
    arguments += extra
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*arguments, "--output-dir", whole) == 0

    real = Trainer._one_step

    def interrupted(self, step):
        if step == 3:
            with (broken / "metrics.jsonl").open("a") as stream:
                stream.write('{"step": 4, "rew')
            raise interruption("in step 4")
        return real(self, step)

    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    if interruption is PowerCut:
        with pytest.raises(PowerCut):
            run(*arguments, "--output-dir", broken)
    else:
        assert run(*arguments, "--output-dir", broken) in (2, 130)
        assert f"--resume {broken}" in capsys.readouterr().err
    assert len((broken / "metrics.jsonl").read_text().splitlines()) == 4
    monkeypatch.undo()
    assert run("--resume", broken) == 0

    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert without_times(lines(broken / name)) == without_times(lines(whole / name))
    for name in ("model.safetensors", "trainer/optimizer.safetensors"):
        mine, other = (load_file(p / "checkpoints" / "step-000004" / name) for p in (broken, whole))
        assert mine.keys() == other.keys()
        assert all((mine[key] == other[key]).all() for key in mine), name
    kept = [(p / "checkpoints/step-000004/trainer/state.json").read_text() for p in (broken, whole)]
    assert kept[0] == kept[1] and ('"curriculum"' in kept[0]) == ("--curriculum" in extra)
    for step in ("000000", "000004"):
        mine, other = (
            json.loads((p / f"eval/step-{step}.json").read_text()) for p in (broken, whole)
        )
        assert mine == other
    note = json.loads((broken / "run.json").read_text())["resumed"]
    assert note == [{"from_step": saved, "changed": {}}]


def test_an_evaluation_that_was_broken_off_is_made_up_for(arguments, tmp_path, monkeypatch):
    out = tmp_path / "run"
    real = HeldOut.__call__

    def interrupted(self, policy, step):
        if step == STEPS:
            raise KeyboardInterrupt
        return real(self, policy, step)

    monkeypatch.setattr(HeldOut, "__call__", interrupted)
    assert run(*arguments, "--output-dir", out) == 130
    monkeypatch.undo()
    assert not (out / "eval" / "step-000004.json").exists()
    assert run("--resume", out) == 0
    assert (out / "eval" / "step-000004.json").is_file()


def test_weights_that_were_being_moved_are_not_saved(arguments, tmp_path, monkeypatch):
    real = PolicyOptimizer.step

    def interrupted(self, max_grad_norm):
        norm = real(self, max_grad_norm)
        if self.learning_rate < 0.5e-3:  # the fourth of four steps of a linear fall from 1e-3
            raise KeyboardInterrupt
        return norm

    monkeypatch.setattr(PolicyOptimizer, "step", interrupted)
    assert run(*arguments, "--output-dir", tmp_path / "run") == 130
    names = [p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*")]
    assert names == ["step-000002"]


def test_a_resumed_run_can_save_and_rotate_for_ever(arguments, tmp_path):
    # the checkpoint it came from is long removed when the last ones are written
    out = tmp_path / "run"
    flags = ("--save-every", "1", "--keep-checkpoints", "1")
    assert run(*arguments, *flags, "--max-steps", "1", "--output-dir", out) == 0
    assert run("--resume", out, "--max-steps", "4") == 0
    assert run("--resume", out, "--max-steps", "5") == 0
    (last,) = (out / "checkpoints").glob("step-*")
    assert (last / "tokenizer.json").is_file() and (last / "preprocessor_config.json").is_file()


def test_a_resumed_run_cannot_be_shorter_than_it_is(arguments, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*arguments, "--max-steps", "2", "--output-dir", out) == 0
    capsys.readouterr()
    message = error_of(capsys, "--resume", out, "--max-steps", "1")
    assert "--max-steps 1 is less than the 2 steps that are done" in message


def test_a_damaged_run_json_is_named(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    told = error_of(capsys, "--resume", tmp_path)
    assert "run.json cannot be read (ValueError: run.json has no config)" in told


def test_an_empty_resume_or_config_is_no_fresh_run(capsys):
    assert "--resume" in error_of(capsys, "--resume", "")
    assert "config" in error_of(capsys, "--config", "")


def test_rates_count_completions_and_their_tokens(arguments, tmp_path):
    out = tmp_path / "run"
    assert run(*arguments, "--max-steps", "1", "--output-dir", out) == 0
    (row,) = lines(out / "metrics.jsonl")
    tokens = sum(item["completion_tokens"] for item in lines(out / "rollouts.jsonl"))
    assert row["samples_per_second"] * row["time/step"] == pytest.approx(6)
    assert row["tokens_per_second"] * row["time/step"] == pytest.approx(tokens)


def test_the_prefix_is_verified_before_the_first_step_and_changes_nothing(
    arguments, tmp_path, capsys
):
    plain, verified = tmp_path / "plain", tmp_path / "verified"
    assert run(*arguments, "--max-steps", "1", "--output-dir", plain) == 0
    assert run(*arguments, "--max-steps", "1", "--output-dir", verified, "--verify-prefix") == 0
    assert "shared prefix against 6 plain copies through transformers" in capsys.readouterr().out
    ours, theirs = (without_times(lines(out / "metrics.jsonl")) for out in (verified, plain))
    assert ours == theirs
    assert "--verify-prefix" in error_of(capsys, "--method", "sft", "--verify-prefix")


def test_a_profiled_run_keeps_its_trace_and_learns_the_same(arguments, tmp_path, capsys):
    plain, profiled = tmp_path / "plain", tmp_path / "profiled"
    assert run(*arguments, "--output-dir", plain) == 0
    assert run(*arguments, "--output-dir", profiled, "--profile") == 0
    assert "where the time of steps 2 to 4 went" in capsys.readouterr().out
    assert (profiled / "profile" / "trace.json.gz").stat().st_size > 1000
    ours, theirs = (without_times(lines(out / "metrics.jsonl")) for out in (profiled, plain))
    assert ours == theirs
    for row in lines(plain / "metrics.jsonl"):
        parts = sum(row[name] for name in row if name.startswith("time/") and name != "time/step")
        assert parts == pytest.approx(row["time/step"], rel=0.03)


def test_a_finished_run_can_be_lengthened_and_the_change_is_noted(arguments, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*arguments, "--output-dir", out) == 0
    resumed = ("--resume", out, "--max-steps", "6", "--keep-checkpoints", "1")
    assert run(*resumed, "--micro-batch-tokens", "300") == 0
    rows = lines(out / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    # the schedule is that of the new total: step 5 of 6 has 2/6 of the peak
    assert rows[4]["learning_rate"] == pytest.approx(1e-3 * 2 / 6)
    stored = json.loads((out / "run.json").read_text())
    expected = {"max_steps": 6, "keep_checkpoints": 1, "micro_batch_tokens": 300}
    assert stored["resumed"] == [{"from_step": 4, "changed": expected}]
    assert stored["config"]["max_steps"] == 6
    assert [p.name for p in (out / "checkpoints").glob("step-*")] == ["step-000006"]
    capsys.readouterr()
    assert "--seed cannot change" in error_of(capsys, "--resume", out, "--seed", "1")


def test_a_resumed_run_must_find_its_data_and_start_model_unchanged(
    files, arguments, tmp_path, capsys
):
    data = tmp_path / "MRI_train.json"
    data.write_text(Path(files["train"]).read_text())
    arguments[3] = str(data)
    out = tmp_path / "run"
    assert run(*arguments, "--max-steps", "2", "--output-dir", out) == 0
    data.write_text(Path(files["train"]).read_text().replace("What", "Which"))
    message = error_of(capsys, "--resume", out, "--max-steps", "3")
    assert "MRI_train.json (SHA-256 " in message and "changed since the run began" in message


def test_the_token_budget_changes_nothing_that_is_learned(arguments, tmp_path):
    outs = [tmp_path / "one", tmp_path / "many"]
    for out, budget in zip(outs, ("4096", "70"), strict=True):
        flags = ("--dtype", "float32", "--micro-batch-tokens", budget)  # compared beyond bfloat16
        assert run(*arguments, *flags, "--output-dir", out) == 0
    one, many = (lines(out / "metrics.jsonl") for out in outs)
    for mine, other in zip(one, many, strict=True):
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
        assert mine["reward"] == other["reward"]


def test_the_supervised_baseline_learns_its_targets(files, tmp_path, capsys):
    out = tmp_path / "sft"
    arguments = [
        *("--method", "sft", "--model", files["qwen2_vl"], "--train-json", files["train"]),
        *("--eval-json", files["train"], "--image-root", files["root"], "--image-size", "56"),
        *("--max-steps", "60", "--prompts-per-step", "9", "--learning-rate", "5e-3"),
        *("--max-completion-tokens", "24", "--lr-schedule", "constant", "--output-dir", out),
    ]
    assert run(*arguments) == 0
    rows = lines(out / "metrics.jsonl")
    # `<answer>C</answer>` is 18 bytes and the end token: the whole target is taught
    assert rows[0]["completion_tokens"] == 19
    assert rows[-1]["loss"] < rows[0]["loss"] / 5
    before, after = (json.loads((out / f"eval/step-{n:06d}.json").read_text()) for n in (0, 60))
    assert before["overall"]["well_formed"] == 0 and after["overall"]["well_formed"] == 1
    assert after["overall"]["accuracy"] >= 2 / 3  # seen rows: 9 of them
    card = json.loads((out / "checkpoints/step-000060/groupwise.json").read_text())
    assert (card["mode"], card["method"]) == ("no_think", "sft")
    assert not (out / "rollouts.jsonl").exists()
    assert f"run directory: {out} (metrics.jsonl, eval/, checkpoints/)" in capsys.readouterr().out


def test_without_held_out_data_nothing_is_evaluated(arguments, tmp_path, capsys):
    start = arguments.index("--eval-json")
    del arguments[start : start + 2]
    assert run(*arguments, "--max-steps", "1", "--output-dir", tmp_path / "run") == 0
    assert not (tmp_path / "run" / "eval").exists()
    assert "next: python evaluate.py" in capsys.readouterr().out


def test_beta_zero_loads_no_reference(arguments, tmp_path):
    out = tmp_path / "run"
    assert run(*arguments, "--beta", "0", "--max-steps", "2", "--output-dir", out) == 0
    assert [row["kl"] for row in lines(out / "metrics.jsonl")] == [None, None]


def test_bad_rows_are_counted_when_they_may_be_skipped(files, arguments, tmp_path, capsys):
    rows = json.loads(Path(files["train"]).read_text())
    rows[1]["solution"] = "<answer> F </answer>"
    bad = tmp_path / "CT_train.json"
    bad.write_text(json.dumps(rows))
    arguments[3] = str(bad)
    message = error_of(capsys, *arguments, "--output-dir", tmp_path / "a")
    assert "CT_train.json, row 1: '<answer> F </answer>'" in message
    assert not (tmp_path / "a").exists()
    done = run(*arguments, "--skip-bad-rows", "--max-steps", "1", "--output-dir", tmp_path / "b")
    assert done == 0
    assert "train: 1 bad rows skipped" in capsys.readouterr().out


def own_files(files, arguments, folder: Path) -> list[str]:
    """Copy the images and the training file to a folder and name them instead."""
    shutil.copytree(Path(files["root"]) / "Images", folder / "Images")
    shutil.copy(files["train"], folder / "CT_train.json")
    shutil.copy(files["test"], folder / "CT_test.json")
    changed = list(arguments)
    names = {"--train-json": "CT_train.json", "--eval-json": "CT_test.json", "--image-root": "."}
    for flag, name in names.items():
        changed[changed.index(flag) + 1] = str(folder / name)
    return changed


def break_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def test_an_image_that_breaks_off_is_found_before_anything_is_made(
    files, arguments, tmp_path, capsys
):
    arguments = own_files(files, arguments, tmp_path)
    break_off(tmp_path / "Images/NanoSet/3.png")  # of rows 3 of both files
    message = error_of(capsys, *arguments, "--output-dir", tmp_path / "a")
    assert "2 of 14 rows of 2 files cannot be used" in message
    assert "CT_train.json, row 3: image " in message and "3.png cannot be decoded" in message
    assert not (tmp_path / "a").exists()
    assert run(*arguments, "--skip-bad-rows", "--output-dir", tmp_path / "b") == 0
    printed = capsys.readouterr().out
    assert "train: 1 bad rows skipped" in printed and "eval: 1 bad rows skipped" in printed
    description = json.loads((tmp_path / "b" / "run.json").read_text())
    assert description["skipped_rows"] == {"train": 1, "eval": 1}
    assert [list(part.values()) for part in description["left_out"].values()] == [[[3]], [[3]]]
    rows = lines(tmp_path / "b" / "rollouts.jsonl")
    assert "CT_train-3" not in {row["id"] for row in rows}
    assert [row["redrawn_rows"] for row in lines(tmp_path / "b" / "metrics.jsonl")] == [0] * STEPS


def test_an_image_that_vanishes_costs_its_row_and_the_run_goes_on_bitwise(
    files, arguments, tmp_path, monkeypatch, capsys
):
    arguments = own_files(files, arguments, tmp_path)
    start = arguments.index("--eval-json")
    del arguments[start : start + 2]
    image = tmp_path / "Images/NanoSet/3.png"  # one of the nine training rows shows it
    whole, broken, again = (tmp_path / name for name in ("whole", "broken", "again"))
    assert run(*arguments, "--output-dir", whole) == 0
    first = lines(whole / "rollouts.jsonl")
    (step,) = {row["step"] for row in first if row["id"] == "CT_train-3"}

    real_begin = RunDirectory.begin

    def vanish(self, description, step):
        real_begin(self, description, step)
        image.rename(tmp_path / "elsewhere.png")

    monkeypatch.setattr(RunDirectory, "begin", vanish)
    capsys.readouterr()
    assert run(*arguments, "--output-dir", broken) == 0
    printed = capsys.readouterr()
    monkeypatch.undo()
    assert f"warning: step {step}: a row is redrawn, CT_train-" in printed.err
    counts = [row["redrawn_rows"] for row in lines(broken / "metrics.jsonl")]
    assert counts == [int(number == step) for number in range(1, STEPS + 1)]
    rows = lines(broken / "rollouts.jsonl")
    before = [row for row in first if row["step"] < step]
    assert without_times(before) == without_times([row for row in rows if row["step"] < step])
    other = {row["id"] for row in first if row["step"] == step} - {"CT_train-3"}
    assert {row["id"] for row in rows if row["step"] == step} > other  # with one instead of it
    same_row = [[r["completion"] for r in some if r["id"] in other] for some in (first, rows)]
    assert same_row[0][:3] == same_row[1][:3]  # its random numbers are its own

    # broken off, the image still gone: --resume names it, goes on and ends as the run before
    real = Trainer._one_step

    def interrupted(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return real(self, number)

    image.write_bytes((tmp_path / "elsewhere.png").read_bytes())
    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    monkeypatch.setattr(RunDirectory, "begin", vanish)
    assert run(*arguments, "--output-dir", again) == 130
    monkeypatch.undo()
    assert run("--resume", again) == 0
    assert "rows went bad since the run began" in capsys.readouterr().err
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert without_times(lines(again / name)) == without_times(lines(broken / name))
    mine, theirs = (
        load_file(out / "checkpoints" / "step-000004" / "model.safetensors")
        for out in (again, broken)
    )
    assert all((mine[key] == theirs[key]).all() for key in theirs)


def test_a_run_whose_images_are_all_gone_stops_saved(
    files, arguments, tmp_path, monkeypatch, capsys
):
    arguments = own_files(files, arguments, tmp_path)
    start = arguments.index("--eval-json")
    del arguments[start : start + 2]
    real = Trainer._one_step

    def remove_all(self, number):
        if number == 1:  # the first step's images have been read by then, however slow the machine
            shutil.rmtree(tmp_path / "Images")
        return real(self, number)

    monkeypatch.setattr(Trainer, "_one_step", remove_all)
    out = tmp_path / "run"
    message = error_of(capsys, *arguments, "--max-steps", "8", "--output-dir", out)
    assert "50 rows in a row could not be read" in message and "--resume" in message
    done = len(lines(out / "metrics.jsonl"))
    assert 1 <= done < 8  # those whose images were read before
    assert (out / "checkpoints" / f"step-{done:06d}").is_dir()


MISTAKES = {
    "group size": (["--group-size", "1"], "group_size=1 must be at least 2"),
    "temperature": (["--temperature", "0"], "temperature=0.0 must be positive"),
    "mode": (["--mode", "ponder"], "mode='ponder' is unknown: use one of think, no_think"),
    "reward": (["--rewards", "beauty"], "unknown reward 'beauty'"),
    "device": (["--device", "abacus"], "device 'abacus'"),
    "model": (["--model", "nowhere"], "no model directory nowhere"),
    "data": (["--train-json", "nowhere.json"], "nowhere.json"),
    "root": (["--image-root", "nowhere"], "image root nowhere is not a folder"),
    "template": (["--prompt-template", "nowhere.txt"], "nowhere.txt cannot be read"),
    "config": (["--config", "nowhere.toml"], "nowhere.toml cannot be read"),
    "resume": (["--resume", "nowhere"], "--resume nowhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_message_and_leaves_nothing(arguments, mistake, tmp_path, capsys):
    flags, message = MISTAKES[mistake]
    out = tmp_path / "run"
    if mistake == "resume":
        assert message in error_of(capsys, *flags)
    else:
        assert message in error_of(capsys, *arguments, *flags, "--output-dir", out)
    assert not out.exists()


def test_an_output_directory_with_another_run_is_refused(arguments, tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    message = error_of(capsys, *arguments, "--output-dir", tmp_path)
    assert "holds another run" in message


def test_missing_images_are_counted_before_a_model_is_loaded(arguments, tmp_path, capsys):
    arguments[arguments.index("--image-root") + 1] = str(tmp_path)
    message = error_of(capsys, *arguments, "--output-dir", tmp_path / "run")
    assert "6 of 6 image files are missing" in message and "NanoSet/0.png" in message


def test_a_prompt_beyond_the_context_names_its_sample_and_is_never_cut(
    files, arguments, tmp_path, capsys
):
    rows = json.loads(Path(files["train"]).read_text())
    for row in rows:
        row["problem"] = row["problem"].replace("seen", "seen " * 120)  # 512 tokens is the context
    long = tmp_path / "CT_train.json"
    long.write_text(json.dumps(rows))
    arguments[3] = str(long)
    message = error_of(capsys, *arguments, "--output-dir", tmp_path / "run")
    assert "9 of 9 rows" in message and "no row is left to use" in message
    assert "CT_train.json, row 0: 'What is" in message
    assert "exceed the model's context of 512" in message
    assert not (tmp_path / "run").exists()


def test_a_user_reward_that_fails_is_named_with_its_example(arguments, tmp_path, capsys):
    file = Path(__file__).parent / "own_rewards.py"
    arguments[arguments.index("--rewards") + 1] = f"{file}:broken"
    message = error_of(capsys, *arguments, "--output-dir", tmp_path / "run")
    assert "broken" in message and "CT_train-" in message and "finite" in message


def test_an_unknown_flag_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--num-generations", "8")
    assert stop.value.code == 2
    assert "--num-generations" in capsys.readouterr().err


def test_help_explains_every_group(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "rewards and advantages" in text and "--micro-batch-tokens" in text


def test_a_step_reads_each_completion_once_and_totals_its_rewards_once(
    arguments, tmp_path, monkeypatch
):
    """Accuracy, format, the grounding penalty, the log and its metrics share one reading."""
    calls: list[list[tuple]] = []

    def on_event(frame, event, _argument):
        if event == "call" and frame.f_code is parse_completion.__code__:
            options = frame.f_locals["options"]
            if options:  # grounding also parses the vocabulary, once: which tokens say a letter
                calls[-1].append((frame.f_locals["text"], options))

    def watched(self, step):
        calls.append([])
        sys.setprofile(on_event)
        try:
            return one_step(self, step)
        finally:
            sys.setprofile(None)

    one_step = Trainer._one_step
    monkeypatch.setattr(Trainer, "_one_step", watched)
    out = tmp_path / "run"
    changes = ("--rewards", "accuracy", "format", "--reward-weights", "1", "0.5")
    changes += ("--grounding", "penalty", "--mode", "no_think", "--max-steps", "2")
    assert run(*arguments, *changes, "--output-dir", out) == 0
    rows = lines(out / "rollouts.jsonl")
    for step, parsed in enumerate(calls, start=1):
        written = [(r["completion"], tuple(r["options"])) for r in rows if r["step"] == step]
        assert sorted(parsed) == sorted(set(written)), f"step {step}"
    assert len(calls) == 2
    for metrics in lines(out / "metrics.jsonl"):
        totals = [row["reward"] for row in rows if row["step"] == metrics["step"]]
        assert sum(totals) / len(totals) == pytest.approx(metrics["reward"])
        assert totals == [
            row["rewards"]["accuracy"] + 0.5 * row["rewards"]["format"]
            for row in rows
            if row["step"] == metrics["step"]
        ]
