"""`train.py --protocol FILE --jobs 2`: what one process writes, by processes side by side."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe

import pytest

import train
from evaluation.protocol import worker
from evaluation.protocol.desks import desks_for
from evaluation.protocol.run_protocol import Training, protocol_command
from process.owner import owned
from process.ranks import Place, World
from tests.places import ROOT

TEXT = """
model = "tiny"
output_dir = "{out}"
methods = ["sft", "think"]
zero_shot = []
steps = {steps}
test_limit = 2
[data]
phantoms = true
[modality]
slices = ["CT"]
[settings]
image_size = 84
max_completion_tokens = 20
prompts_per_step = 2
save_every = 0
[settings.grpo]
group_size = 2
"""


def write(folder, out, steps=1):
    file = folder / f"{out}.toml"
    file.write_text(TEXT.format(out=folder / out, steps=steps))
    return file


def jobs(file, *words):
    command = [sys.executable, "train.py", "--protocol", str(file), "--jobs", "2", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_an_arm_that_fails_stops_no_other_and_the_numbers_are_those_of_one_process(tmp_path):
    alone, file = write(tmp_path, "alone"), write(tmp_path, "jobs")
    training = Training(train.run, train.resume)
    assert protocol_command(str(alone), {}, training) == 0
    run = tmp_path / "jobs" / "runs" / "modality" / "CT" / "sft-seed0"
    run.mkdir(parents=True)
    (tmp_path / "jobs" / "protocol.json").write_text("{}")  # as an earlier start leaves one
    with owned(run), jobs(file) as process:
        out, err = process.communicate(timeout=180)
    assert process.returncode == 2, out + err
    assert f"error: modality/CT/sft-seed0: another process works on {run}" in err
    assert "not done, for the reasons above: modality/CT/sft-seed0" in err
    assert "trained modality/CT/think-seed0" in err and "Traceback" not in err
    log = (tmp_path / "jobs" / "logs" / "modality" / "CT" / "think-seed0.log").read_text()
    assert "training modality/CT/think-seed0" in log and "reward" in log
    assert protocol_command(str(file), {}, training) == 0  # the same command, with another number
    for name in ("protocol.md", "protocol.json"):
        texts = [(tmp_path / out / name).read_text() for out in ("alone", "jobs")]
        assert texts[0].replace("alone.toml", "jobs.toml") == texts[1]


@pytest.mark.slow
def test_a_signal_ends_all_and_every_run_has_saved_its_steps(tmp_path):
    file = write(tmp_path, "out", steps=5000)
    runs = [tmp_path / "out/runs/modality/CT" / name for name in ("sft-seed0", "think-seed0")]
    with jobs(file) as process:
        end = time.monotonic() + 150
        while not all((run / "metrics.jsonl").is_file() for run in runs):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 143, out + err
    assert "interrupted by SIGTERM: what is finished stays, the same command goes on" in err
    for run in runs:
        assert len(list((run / "checkpoints").glob("step-*"))) == 1
        with owned(run):  # nobody works there any more
            pass


@pytest.mark.parametrize("ends", ["closed", "killed"])
def test_a_worker_ends_with_the_process_that_hands_out_the_parts(monkeypatch, ends):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    lifeline, other = Pipe(duplex=False)
    if ends == "closed":
        other.close()
    else:
        lifeline.close()
    worker._end_with(lifeline)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_every_job_has_a_desk_or_is_refused(monkeypatch):
    assert desks_for(1, "auto") == []
    assert desks_for(2, "cpu", {"OMP_NUM_THREADS": "3"}) == [{}, {}]
    assert all(int(desk["OMP_NUM_THREADS"]) >= 1 for desk in desks_for(3, "cpu", {}))
    with pytest.raises(ValueError, match="--jobs 0 must be at least 1"):
        desks_for(0, "auto")
    with pytest.raises(ValueError, match="--jobs 2 with 0 GPUs"):
        desks_for(2, "cuda", {"CUDA_VISIBLE_DEVICES": ""})
    with pytest.raises(ValueError, match="--device cuda:1 is one GPU"):
        desks_for(2, "cuda:1")
    monkeypatch.setattr("evaluation.protocol.desks.world", lambda: World(Place(0, 4)))
    with pytest.raises(ValueError, match="--jobs 2 among 4 processes of torchrun"):
        desks_for(2, "auto")
