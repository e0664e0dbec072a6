"""`train.py --protocol`: arms on the same examples, what is done is not redone, axes stay apart."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import grpo.methods
import train
from data.order import ExampleOrder
from data.sources import load_split
from evaluation.asking.progress import TimeLeft
from evaluation.protocol import running
from evaluation.protocol.arms import (
    BROKEN,
    NEW,
    STARTED,
    TRAINED,
    Arm,
    all_arms,
    arm_config,
    find_state,
)
from evaluation.protocol.protocol_file import read_protocol
from evaluation.protocol.run_protocol import Training, protocol_command
from evaluation.protocol.schedule import Schedule
from grpo.settings.toml_file import typed
from process.owner import owned

pytestmark = pytest.mark.model

ARMS = ("sft", "think")
TEXT = """
model = "tiny"
output_dir = "{out}"
methods = ["sft", "think"]
zero_shot = ["think"]
steps = 2
test_limit = 3
[data]
phantoms = true
[modality]
slices = ["CT", "Fundus"]
train_slices = ["CT"]
[question_type]
slices = ["Lesion Grading"]
[settings]
image_size = 84
max_completion_tokens = 20
prompts_per_step = 2
[settings.grpo]
group_size = 2
"""
CELLS = 3 + 2 * 2 + 2  # zero-shot, CT's two arms on two files, Lesion Grading's two on one


def write(folder, text=TEXT, **changes):
    file = folder / "p.toml"
    for old, new in changes.items():
        text = text.replace(*new) if isinstance(new, tuple) else text.replace(old, new)
    file.write_text(text.format(out=folder / "out"))
    return file


class Counted:
    """train.py's run and resume, counted; stops with Ctrl-C before the run of a number."""

    def __init__(self, stop_before=None):
        self.calls, self.stop_before = [], stop_before

    def run(self, config):
        self.count("run", config)
        train.run(config)

    def resume(self, directory, changes):
        self.count("resume", directory)
        train.resume(directory, changes)

    def count(self, *call):
        if len(self.calls) == self.stop_before:
            raise KeyboardInterrupt
        self.calls.append(call)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A protocol that was broken off after two of its four runs, and how."""
    folder = tmp_path_factory.mktemp("protocol")
    counted = Counted(stop_before=2)
    status = protocol_command(str(write(folder)), {}, counted)
    files = [(folder / "out" / f"protocol.{kind}").read_text() for kind in ("json", "md")]
    return folder, status, counted, json.loads(files[0]), files[1]


@pytest.fixture(scope="module")
def finished(started):
    """The same, gone on with to its end: the folder, what was there before, the calls."""
    folder, *_ = started
    before, counted = times(folder / "out"), Counted()
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        take = grpo.methods.sft_step

        def watched(policy, optimizer, batch, *rest):
            seen.append([example.id for example in batch.examples])
            return take(policy, optimizer, batch, *rest)

        patch.setattr(grpo.methods, "sft_step", watched)
        assert protocol_command(str(folder / "p.toml"), {}, counted) == 0
    return folder, before, counted, seen


def times(output):
    kinds = ("cells/*/*/*.json*", "runs/*/*/*/*.json*")
    found = [file for kind in kinds for file in output.rglob(kind)]
    return {file: file.stat().st_mtime_ns for file in found}


def result(folder):
    return json.loads((folder / "out" / "protocol.json").read_text())


def ids_of(run: Path, split):
    """The examples of a run, from its own run.json."""
    stored = json.loads((run / "run.json").read_text())
    config = train.GRPOConfig(**typed(stored["config"], "run.json"))
    order = ExampleOrder(split.examples, config.seed, config.shuffle_options)
    return [order[i].id for i in range(config.total_steps(1) * config.prompts_per_step)]


def test_a_broken_off_protocol_says_what_is_missing(started):
    _, status, counted, broken, page = started
    assert status == 130
    assert len(counted.calls) == 2
    assert not broken["complete"]
    assert broken["missing"]["runs"] == [
        "question_type/Lesion-Grading/sft-seed0",
        "question_type/Lesion-Grading/think-seed0",
    ]
    assert len(broken["missing"]["cells"]) == 2
    assert "Not complete" in page


def test_what_was_finished_is_not_redone(finished):
    folder, before, counted, _ = finished
    assert len(before) > 20
    assert before.items() <= times(folder / "out").items()
    trained = [config.train_json[0] for _, config in counted.calls]
    assert trained == ["phantoms:Lesion Grading"] * 2
    assert result(folder)["complete"]


def test_a_run_is_trained_with_the_config_that_was_checked(finished):
    folder, _, counted, _ = finished
    config = read_protocol(str(folder / "p.toml"))
    for arm, (_, trained) in zip(all_arms(config)[2:], counted.calls, strict=True):
        checked = arm_config(config, arm, "phantoms:Lesion Grading")
        assert trained == replace(checked, output_dir=str(arm.path(folder / "out")))


def test_a_finished_protocol_does_nothing_again(finished, capsys):
    folder, *_ = finished
    before, counted = times(folder / "out"), Counted()
    assert protocol_command(str(folder / "p.toml"), {}, counted) == 0
    assert (counted.calls, before) == ([], times(folder / "out"))
    text = f"4 runs, 4 of them trained; {CELLS} cells, {CELLS} of them done"
    assert text in capsys.readouterr().out


def test_every_arm_sees_the_same_examples_in_the_same_order(finished):
    folder, _, _, sft_batches = finished
    place = folder / "out" / "runs" / "question_type" / "Lesion-Grading"
    with (place / "think-seed0" / "rollouts.jsonl").open() as lines:
        rollouts = [json.loads(line) for line in lines]
    sampled = list(dict.fromkeys((row["step"], row["id"]) for row in rollouts))
    assert [name for _, name in sampled] == [name for batch in sft_batches for name in batch]
    split = load_split(["phantoms:Lesion Grading"], part="train", image_root=None)
    for method in ARMS:
        assert ids_of(place / f"{method}-seed0", split) == [name for _, name in sampled]
    sums = {run["examples"] for run in result(folder)["runs"] if run["axis"] == "question_type"}
    assert len(sums) == 1
    assert len({run["examples"] for run in result(folder)["runs"]}) == 2


@pytest.mark.parametrize("where", ["[settings]", "[settings.grpo]"])
@pytest.mark.parametrize("setting", ['curriculum = "pass_rate"', "dynamic_sampling = 2"])
def test_examples_that_rewards_choose_are_refused(setting, where, tmp_path, capsys):
    file = write(tmp_path, TEXT.replace(f"{where}\n", f"{where}\n{setting}\n"))
    assert protocol_command(str(file), {}, Counted()) == 2
    shown = setting.replace(" = ", "=").replace('"', "")
    assert capsys.readouterr().err == (
        "error: modality/CT/think-seed0 would see other examples than the rest:"
        f" {shown} lets a run's own rewards choose them; leave it away\n"
    )
    assert not (tmp_path / "out").exists()


def test_methods_that_choose_alike_are_refused_and_a_baseline_that_does_not_is_none(tmp_path):
    # each of the two would be drawn by what it has learned itself
    text = TEXT.replace("[settings]\n", '[settings]\ncurriculum = "pass_rate"\n')
    both = text.replace('["sft", "think"]', '["think", "think_after"]')
    with pytest.raises(ValueError, match="think-seed0 would see other examples than the rest"):
        Schedule(read_protocol(str(write(tmp_path, both)), None))
    alone = text.replace('["sft", "think"]', '["sft"]')
    assert (
        len(set(Schedule(read_protocol(str(write(tmp_path, alone)), None)).examples.values())) == 2
    )


def test_a_checkpoint_is_scored_on_its_own_axis_only(finished):
    folder, *_ = finished
    for axis, other in (("modality", "Lesion"), ("question_type", "CT")):
        for file in (folder / "out" / "matrices" / axis).rglob("predictions.jsonl"):
            assert other not in file.parent.name
            summary = json.loads((file.parent / "summary.json").read_text())
            (source,) = summary["evaluation"]["data"]["checksums"]
            assert source.removeprefix("phantoms:") in result(folder)["axes"][axis]["slices"]
    cells = result(folder)["axes"]["modality"]["methods"]["think"]["0"]["cells"]
    assert [(cell["model"], cell["test"]) for cell in cells] == [("CT", "CT"), ("CT", "Fundus")]


def test_every_cell_has_its_blank_control_and_its_text_prior(finished):
    folder, *_ = finished
    axis = result(folder)["axes"]["modality"]
    for cell in axis["methods"]["sft"]["0"]["cells"]:
        gain = cell["accuracy"] - cell["blank"]["accuracy"]
        assert cell["visual_gain"]["gain"] == pytest.approx(gain)
        assert cell["n"] == 3 and "lookup" in cell["where_prior_wrong"]
    assert [(row["train"], row["test"]) for row in axis["text_priors"]] == [
        ("CT", "CT"),
        ("CT", "Fundus"),
    ]


def test_only_the_last_weights_stay(finished):
    folder, *_ = finished
    for run in (folder / "out" / "runs").glob("*/*/*"):
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
        assert not (run / "checkpoints" / "step-000002" / "trainer").exists()


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[0] / "out", tmp_path / "out")
    return tmp_path


def test_deleted_weights_are_no_reason_to_train_again(copied, capsys):
    file = write(copied, TEXT.replace("steps", "delete_checkpoints = true\nsteps"))
    counted = Counted()
    for _ in range(2):
        assert protocol_command(str(file), {}, counted) == 0
        assert not list((copied / "out" / "runs").rglob("*.safetensors"))
        assert result(copied)["complete"]
    assert counted.calls == []
    gone = copied / "out" / "matrices" / "modality" / "think-seed0" / "cells" / "CT" / "Fundus"
    shutil.rmtree(gone)
    assert protocol_command(str(file), {}, counted) == 2
    error = capsys.readouterr().err
    assert f"the cell {gone} is gone, and so are the weights" in error


def test_a_removed_cell_is_asked_again_and_nothing_else(copied):
    gone = copied / "out" / "matrices" / "modality" / "think-seed0" / "cells" / "CT" / "Fundus"
    text = (gone / "predictions.jsonl").read_text()
    shutil.rmtree(gone)
    before, counted = times(copied / "out"), Counted()
    assert protocol_command(str(write(copied)), {}, counted) == 0
    assert counted.calls == []
    assert before.items() <= times(copied / "out").items()
    assert (gone / "predictions.jsonl").read_text() == text


def test_a_run_without_a_checkpoint_is_trained_anew_and_one_with_it_goes_on(copied):
    run = copied / "out" / "runs" / "modality" / "CT" / "think-seed0"
    weights = (run / "checkpoints" / "step-000002" / "model.safetensors").read_bytes()
    shutil.rmtree(run / "checkpoints")
    (run / "trained.json").unlink()
    counted = Counted()
    assert protocol_command(str(write(copied)), {}, counted) == 0
    assert [how for how, _ in counted.calls] == ["run"]
    again = (run / "checkpoints" / "step-000002" / "model.safetensors").read_bytes()
    assert again == weights  # so its cells stand: they were made from the same weights


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 2", "steps = 3", "was trained with another max_steps (2 there, 3 now)"),
        ("group_size = 2", "group_size = 3", "was trained with another group_size (2 there, 3"),
        ("test_limit = 3", "test_limit = 2", "was evaluated with another --limit (3 there, 2"),
    ],
)
def test_results_of_other_settings_are_refused_and_stay(copied, capsys, old, new, message):
    before = times(copied / "out")
    assert protocol_command(str(write(copied, TEXT.replace(old, new))), {}, Counted()) == 2
    error = capsys.readouterr().err
    assert message in error and "remove that folder" in error
    assert times(copied / "out") == before


def test_a_folder_that_is_no_protocol_is_left_alone(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    assert protocol_command(str(write(tmp_path)), {}, Counted()) == 2
    assert "holds files (notes ..) and no protocol to go on with" in capsys.readouterr().err


def test_the_states_of_a_run_directory(tmp_path):
    run = tmp_path / "run"
    assert find_state(run, 4) == NEW
    run.mkdir()
    assert find_state(run, 4) == NEW
    (run / "run.json").write_text("{}")
    (run / "checkpoints" / ".step-000002.unfinished").mkdir(parents=True)
    assert find_state(run, 4) == BROKEN
    (run / "checkpoints" / "step-000002").mkdir()
    assert find_state(run, 4) == STARTED
    (run / "checkpoints" / "step-000004").mkdir()
    assert find_state(run, 4) == TRAINED
    (run / "run.json").unlink()
    with pytest.raises(ValueError, match=r"holds files \(checkpoints \.\.\) and no run"):
        find_state(run, 4)


def test_a_started_run_is_resumed(copied):
    run = copied / "out" / "runs" / "modality" / "CT" / "sft-seed0"
    (run / "trained.json").unlink()
    (run / "checkpoints" / "step-000002").rename(run / "checkpoints" / "step-000001")
    calls = []

    def stops(directory, changes):
        calls.append((directory, changes))
        raise KeyboardInterrupt

    file = write(copied)
    assert protocol_command(str(file), {"device": "cpu"}, Training(train.run, stops)) == 130
    places = {"model": "tiny", "train_json": ("phantoms:CT",)}
    assert calls == [(run, {**places, "device": "cpu"})]


def test_runs_whose_files_lay_elsewhere_are_the_same_runs(copied):
    # as if train_dir and the model had moved since, and the file said so now
    for file in (copied / "out" / "runs").rglob("run.json"):
        described = json.loads(file.read_text(encoding="utf-8"))
        (source,), model = described["config"]["train_json"], described["config"]["model"]
        described["config"] |= {"train_json": [f"/old/{source}"], "model": f"/old/{model}"}
        sums = described["checksums"]
        for kind, name in (("train data", source), ("start model", model)):
            sums[f"{kind} /old/{name}"] = sums.pop(f"{kind} {name}")
        file.write_text(json.dumps(described), encoding="utf-8")
    counted = Counted()
    assert protocol_command(str(write(copied)), {}, counted) == 0
    assert counted.calls == []


def test_real_splits_without_their_images_are_refused_with_their_number(shared, tmp_path, capsys):
    folder = shared / "omnimedvqa_splits"
    data = f'train_dir = "{folder}/train"\ntest_dir = "{folder}/test"\nimage_root = "{tmp_path}"'
    text = TEXT.replace("phantoms = true", data).split("[question_type]")[0]
    assert protocol_command(str(write(tmp_path, text)), {}, Counted()) == 2
    error = capsys.readouterr().err
    assert " image files are missing" in error and error.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_real_files_with_their_images_run(shared, nano_dirs, tmp_path):
    mini = shared / "real_mini"
    data = f'train_dir = "{mini}"\ntest_dir = "{mini}"\nimage_root = "{mini}"'
    text = TEXT.replace("phantoms = true", data).split("[question_type]")[0]
    text = text.replace('"tiny"', f'"{nano_dirs["qwen2_vl"]}"').replace("steps = 2", "steps = 1")
    text = text.replace('"CT", "Fundus"', '"Microscopy"').replace('["CT"]', '["Microscopy"]')
    text = text.replace('["sft", "think"]', '["think"]').replace('["think"]\nsteps', "[]\nsteps")
    text += "[settings]\nimage_size = 56\nmax_completion_tokens = 4\nprompts_per_step = 1\n"
    text += "[settings.grpo]\ngroup_size = 2\n"
    assert protocol_command(str(write(tmp_path, text)), {}, Counted()) == 0
    found = result(tmp_path)
    assert found["complete"] and len(found["runs"]) == 1
    for cell in found["axes"]["modality"]["methods"]["think"]["0"]["cells"]:
        assert cell["part"] == "diagonal" and "linear ranker" in cell["where_prior_wrong"]


def test_an_arm_has_a_folder_of_its_own():
    names = {Arm(axis, "CT", m, s).name for axis in "ab" for m in ARMS for s in (0, 1)}
    assert len(names) == 8


def test_a_second_process_is_told_to_wait(tmp_path, capsys):
    file = write(tmp_path)
    (tmp_path / "out").mkdir()
    with owned(tmp_path / "out"):
        (tmp_path / "out" / "protocol.json").write_text("{}")
        counted = Counted()
        assert protocol_command(str(file), {}, counted) == 2
    assert "process works on" in capsys.readouterr().err and not counted.calls


def test_a_run_that_another_process_works_on_is_not_removed(tmp_path, monkeypatch, capsys):
    arm = Arm("modality", "CT", "sft", 0)
    run = arm.path(tmp_path)
    run.mkdir(parents=True)
    (run / "run.json").touch()  # it has no checkpoint yet, as one that was broken off has none
    monkeypatch.setattr(running, "arm_settings", lambda *_: {})
    schedule = SimpleNamespace(
        output=tmp_path, config=None, state=lambda _: BROKEN, source=lambda _: ""
    )
    runner = running.Runner(schedule, Counted(), None)
    runner.progress = TimeLeft({"train sft": 1})
    with owned(run), pytest.raises(ValueError, match="ended with status 2"):
        runner._train(arm)
    assert f"process works on {run}" in capsys.readouterr().err
    assert (run / "run.json").is_file()


def test_the_start_model_is_asked_as_the_arms_are(tmp_path):
    # without them in the file the arms have what belongs to tiny and phantoms, as in train.py
    text = TEXT.replace("image_size = 84\n", "").replace("max_completion_tokens = 20\n", "")
    schedule = Schedule(read_protocol(str(write(tmp_path, text)), None))
    for matrix in schedule.zero_shot.values():
        settings = matrix.models[0].settings
        assert (settings.image_size, settings.max_completion_tokens) == (84, 24)
