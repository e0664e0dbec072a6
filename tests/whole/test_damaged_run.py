"""--resume of a run of which a file was damaged: named, nothing loaded, nothing changed."""

import json
import shutil
from pathlib import Path

import pytest

import train
from grpo.run import RunDirectory
from grpo.run.start_point import checkpoints_of

RUN = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--eval-json", "phantoms:CT"),
    *("--image-size", "56", "--device", "cpu", "--max-completion-tokens", "4", "--max-steps", "3"),
    *("--prompts-per-step", "1", "--group-size", "2", "--learning-rate", "1e-4", "--beta", "0"),
    *("--eval-limit", "2", "--no-eval-blank", "--eval-every", "1", "--save-every", "1"),
    *("--keep-checkpoints", "3", "--warmup-steps", "0", "--lr-schedule", "constant"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """Three steps, each evaluated and saved."""
    out = tmp_path_factory.mktemp("done") / "run"
    assert train.main([*RUN, "--output-dir", str(out)]) == 0
    return out


@pytest.fixture
def run(done, tmp_path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "run"))


def contents(run: Path) -> dict[str, bytes]:
    files = (file for file in run.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}


def refused(run: Path, capsys, *flags: str) -> str:
    before = contents(run)
    assert train.main(["--resume", str(run), *flags]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told and told.count("error: ") == 1
    assert contents(run) == before
    return told


def changed(name: str, **values):
    def change(run: Path) -> None:
        content = json.loads((run / name).read_text()) | values
        (run / name).write_text(json.dumps(content, indent=2))

    return change


def flip(name: str):
    def change(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run / name).write_bytes(content)

    return change


def empty(name: str):
    return lambda run: (run / name).write_bytes(b"")


def gone(name: str):
    return lambda run: (run / name).unlink()


def without_start_model(run: Path) -> None:
    sums = json.loads((run / "run.json").read_text())["checksums"]
    del sums["start model tiny"]
    changed("run.json", checksums=sums)(run)


NEWEST = "checkpoints/step-000003"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip(f"{NEWEST}/model.safetensors"), "model.safetensors has other bytes"),
        (
            flip(f"{NEWEST}/trainer/optimizer.safetensors"),
            "trainer/optimizer.safetensors has other",
        ),
        (flip(f"{NEWEST}/trainer/rng.safetensors"), "trainer/rng.safetensors has other bytes"),
        (changed(f"{NEWEST}/trainer/state.json", step=2), "trainer/state.json has"),
        (changed(f"{NEWEST}/config.json", rope_theta=2e4), "config.json has"),
        (gone(f"{NEWEST}/groupwise.json"), "groupwise.json is missing"),
        (empty(f"{NEWEST}/manifest.json"), "manifest.json is damaged"),
        (empty("eval/step-000002.json"), "eval/step-000002.json cannot be read"),
        (changed("eval/step-000002.json", overall=[]), "eval/step-000002.json cannot be read"),
        (changed("run.json", checksums={}), "run.json has no checksum of eval data phantoms:CT,"),
        (without_start_model, "run.json has no checksum of start model tiny, so"),
        (changed("run.json", checksums=[]), "run.json cannot be read"),
        (changed("run.json", config={}), "run.json cannot be read (ValueError: config has no mod"),
        (changed("run.json", left_out=[]), "run.json cannot be read"),
        (empty("run.json"), "run.json cannot be read"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_changed(run, damage, named, capsys):
    damage(run)
    told = refused(run, capsys, "--max-steps", "4")
    assert named in told
    if NEWEST in told:
        command = f"python train.py --resume {run} --resume-from step-000002"
        assert f"The newest whole one is step-000002; go on from it with: {command}" in told


SETTINGS = {"image_size": -1, "mode": "loud", "seed": "x", "train_json": [], "epochs": None}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_run_json_cannot_have_is_blamed_on_it(run, name, capsys):
    config = json.loads((run / "run.json").read_text())["config"]
    changed("run.json", config=config | {name: SETTINGS[name]})(run)
    told = refused(run, capsys)
    assert f"the settings in {run}/run.json" in told and name in told


class Stopped(BaseException):
    pass


def test_what_run_json_says_beside_what_is_read_of_it_ends_nothing_with_a_traceback(
    run, monkeypatch, capsys
):
    def stop(*_):
        raise Stopped

    monkeypatch.setattr(RunDirectory, "begin", stop)
    before = json.loads((run / "run.json").read_text())
    for name in before:
        for value in (None, 3, [3], {"train": "x"}):
            (run / "run.json").write_text(json.dumps(before | {name: value}))
            try:
                assert train.main(["--resume", str(run)]) == 2
                assert "run.json" in capsys.readouterr().err
            except Stopped:
                continue  # it is not read, and would be written anew


def rows(run: Path) -> list[dict]:
    with (run / "rollouts.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


def test_an_older_checkpoint_is_gone_on_from_to_the_same_bytes(run, done, capsys):
    flip(f"{NEWEST}/model.safetensors")(run)
    flags = ["--resume-from", "step-000001"]
    assert train.main(["--resume", str(run), *flags]) == 0
    told = capsys.readouterr().out
    assert f"going on from {run}/checkpoints/step-000001, if its" in " ".join(told.split())
    for name in ("step-000002.set-aside", "step-000003.set-aside"):
        assert f"set aside, to be removed when nobody needs it: {run}/checkpoints/{name}" in told
        assert (run / "checkpoints" / name / "model.safetensors").is_file()
    assert rows(run) == rows(done)
    names = ("model.safetensors", "trainer/optimizer.safetensors", "trainer/rng.safetensors")
    for name in names:
        assert (run / NEWEST / name).read_bytes() == (done / NEWEST / name).read_bytes()
    assert len(checkpoints_of(run)) == 3
    best = json.loads((run / "checkpoints" / "best.json").read_text())
    assert best == json.loads((done / "checkpoints" / "best.json").read_text())


def test_the_best_that_is_named_is_none_that_was_cut(run, monkeypatch):
    summary = json.loads((run / "eval" / "step-000003.json").read_text())
    summary["overall"]["accuracy"] = 1.0
    (run / "eval" / "step-000003.json").write_text(json.dumps(summary))
    changed("checkpoints/best.json", step=3, checkpoint="step-000003")(run)

    def stop(*_):
        raise Stopped

    monkeypatch.setattr("grpo.trainer.Trainer._loader", stop)
    with pytest.raises(Stopped):
        train.resume(run, resume_from="step-000002")
    best = json.loads((run / "checkpoints" / "best.json").read_text())
    assert best["step"] < 3 and best["checkpoint"] in (None, f"step-{best['step']:06d}")


def test_a_flag_without_a_run_and_a_name_without_a_checkpoint_are_refused(run, capsys):
    assert train.main([*RUN, "--resume-from", "step-000001"]) == 2
    assert "--resume-from is of a run that goes on: give --resume" in capsys.readouterr().err
    told = refused(run, capsys, "--resume-from", "step-000009")
    assert "name one of step-000001, step-000002, step-000003" in told
    assert "--max-steps 2 is less than the 3 steps" in refused(run, capsys, "--max-steps", "2")


def test_a_checkpoint_of_before_there_were_manifests_is_taken_and_said_once(run, capsys):
    (run / NEWEST / "manifest.json").unlink()
    assert train.main(["--resume", str(run)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("it has no manifest.json, written before there were any, and is not") == 1
