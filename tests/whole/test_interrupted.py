"""What a signal, an error or a full disk leaves of a command: all that was finished before it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evaluate
import evaluation.report.write
import grpo.run.checkpoint
import process.lines
import process.signals
import train
from evaluation.answers.unfinished import Unfinished
from grpo.optimizer import PolicyOptimizer
from grpo.run.directory import RunDirectory
from tests.places import ROOT

SMALL = ["--image-size", "56", "--max-completion-tokens", "4", "--device", "cpu"]

# A reward that sends a signal to its own process once so many steps are written down.
REWARD = """
import os
from pathlib import Path

asked = []

def length(completion, example, mode):
    file = Path(os.environ.get("ASK_IN", "")) / "metrics.jsonl"
    steps = file.read_text(encoding="utf-8").count("\\n") if file.is_file() else -1
    if steps >= int(os.environ.get("ASK_AFTER", "1000")) and not asked:
        asked.append(steps)
        os.kill(os.getpid(), int(os.environ["ASK_WITH"]))
    return len(completion) % 3
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    """A run of four steps that saves at its end only; without its output directory."""
    reward = tmp_path_factory.mktemp("reward") / "reward.py"
    reward.write_text(REWARD)
    return [
        *("--model", "tiny", "--train-json", "phantoms:CT", *SMALL, "--max-steps", "4"),
        *("--prompts-per-step", "1", "--group-size", "2", "--learning-rate", "1e-4"),
        *("--rewards", f"{reward}:length", "--save-every", "0"),
        *("--warmup-steps", "0"),
    ]


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory) -> Path:
    """The same run, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train.main([*arguments, "--output-dir", str(out)]) == 0
    return out


def rows(out: Path, name: str) -> list[dict]:
    with (out / name).open(encoding="utf-8") as lines:
        return [
            {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
            | dict.fromkeys(("samples_per_second", "tokens_per_second"))
            for line in lines
        ]


def saved(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def goes_on_to_the_same(out: Path, whole: Path) -> None:
    assert train.main(["--resume", str(out), "--trust-reward-file"]) == 0
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert rows(out, name) == rows(whole, name)
    last = "checkpoints/step-000004/model.safetensors"
    assert (out / last).read_bytes() == (whole / last).read_bytes()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_in_a_step_saves_the_steps_before_it(
    arguments, whole, number, status, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setenv("ASK_IN", str(out))
        patch.setenv("ASK_AFTER", "2")
        patch.setenv("ASK_WITH", str(int(number)))
        assert train.main([*arguments, "--output-dir", str(out)]) == status
    assert saved(out) == ["step-000002"]
    told = capsys.readouterr().err
    assert f"2 of 4 steps are saved, go on with: python train.py --resume {out}" in told
    goes_on_to_the_same(out, whole)


def ask_at_learning_rate(patch, below: float) -> None:
    """Send SIGTERM when the weights of the first step under a learning rate have just moved."""
    real = PolicyOptimizer.step

    def asked(self, max_grad_norm):
        norm = real(self, max_grad_norm)
        if self.learning_rate < below:
            os.kill(os.getpid(), signal.SIGTERM)
        return norm

    patch.setattr(PolicyOptimizer, "step", asked)


def test_a_step_whose_weights_move_is_finished_and_saved(arguments, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        ask_at_learning_rate(patch, 0.8e-4)  # of 1, 0.75, 0.5, 0.25: the second step
        assert train.main([*arguments, "--output-dir", str(out)]) == 143
    assert saved(out) == ["step-000002"]
    assert len(rows(out, "metrics.jsonl")) == 2 and len(rows(out, "rollouts.jsonl")) == 4
    goes_on_to_the_same(out, whole)


def test_a_signal_before_the_first_step_is_over_says_that_nothing_is_saved(
    arguments, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    monkeypatch.setenv("ASK_IN", str(out))
    monkeypatch.setenv("ASK_AFTER", "0")
    monkeypatch.setenv("ASK_WITH", str(int(signal.SIGTERM)))
    real = RunDirectory.write

    def announced(self, description):  # rewards may be tried before the run has its folder
        real(self, description)
        (self.path / "metrics.jsonl").touch()

    monkeypatch.setattr(RunDirectory, "write", announced)
    assert train.main([*arguments, "--output-dir", str(out)]) == 143
    told = capsys.readouterr().err
    assert f"interrupted by SIGTERM: no step is saved: remove {out}" in told
    assert "--resume" not in told and not (out / "checkpoints").exists()


def ask_while_saving(patch, count: int) -> None:
    """Send SIGTERM so many times while the second checkpoint is written."""
    real, calls = grpo.run.checkpoint.save_policy, []

    def asked(policy, place):
        calls.append(place)
        real(policy, place)
        if len(calls) == 2:
            for _ in range(count):
                os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(grpo.run.checkpoint, "save_policy", asked)


def test_a_checkpoint_that_is_being_written_is_finished_first(
    arguments, whole, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        ask_while_saving(patch, 1)
        flags = ["--save-every", "1", "--output-dir", str(out)]
        assert train.main([*arguments, *flags]) == 143
    assert saved(out) == ["step-000001", "step-000002"]
    goes_on_to_the_same(out, whole)


def test_a_second_signal_does_not_wait_and_leaves_nothing_half_written(
    arguments, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(process.signals.time, "monotonic", lambda: float(next(clock)))
    ask_while_saving(monkeypatch, 2)
    flags = ["--save-every", "1", "--output-dir", str(out)]
    assert train.main([*arguments, *flags]) == 143
    assert saved(out) == ["step-000001"]
    assert "1 of 4 steps are saved" in capsys.readouterr().err


def test_an_error_behind_the_update_keeps_that_step(
    arguments, whole, tmp_path, monkeypatch, capsys
):
    # a disk that is full for the lines of the third step, and has room again for the checkpoint
    real, full = process.lines.append_whole, []

    def filling(file, lines):
        if b'{"step": 3' in lines and not full:
            full.append(file.name)
            raise OSError(28, "No space left on device", str(file))
        real(file, lines)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(process.lines, "append_whole", filling)
        assert train.main([*arguments, "--output-dir", str(out)]) == 2
    assert saved(out) == ["step-000003"] and full == ["metrics.jsonl"]
    told = capsys.readouterr().err
    assert f"No space left on device: '{out / 'metrics.jsonl'}'" in told
    assert "3 of 4 steps are saved, go on with" in told
    goes_on_to_the_same(out, whole)  # its lines were written before that checkpoint


def test_where_not_even_the_checkpoint_fits_the_message_promises_none(
    arguments, tmp_path, monkeypatch, capsys
):
    def full(_policy, _place):
        raise OSError(28, "No space left on device")

    out = tmp_path / "run"
    monkeypatch.setattr(grpo.run.checkpoint, "save_policy", full)
    assert train.main([*arguments, "--output-dir", str(out)]) == 2
    told = capsys.readouterr().err
    assert "free some space, and start the run anew: there is no checkpoint before it" in told
    assert "--resume" not in told and saved(out) == []


def score(out: Path) -> int:
    flags = ["--model", "tiny", "--json", "phantoms:CT", "--limit", "6", "--batch-size", "2"]
    return evaluate.main([*flags, *SMALL, "--output-dir", str(out)])


def test_an_evaluation_keeps_its_answers_and_goes_on_to_the_same(tmp_path, monkeypatch, capsys):
    real = Unfinished.append

    def asked(self, predictions):
        real(self, predictions)
        os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "append", asked)
        assert score(out) == 143
    told = capsys.readouterr().err
    assert "2 of 6 answers are kept" in told and "goes on" in told
    assert "interrupted by SIGTERM" in told and not out.exists()
    assert score(out) == 0 and score(tmp_path / "whole") == 0
    name = "predictions.jsonl"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_report_that_is_being_written_is_finished_first(tmp_path, monkeypatch, capsys):
    real = evaluation.report.write.document

    def asked(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(evaluation.report.write, "document", asked)
    assert score(tmp_path / "out") == 143
    assert (tmp_path / "out" / "report.html").is_file()
    told = capsys.readouterr()
    assert f"report: {tmp_path / 'out' / 'report.html'}" in told.out
    assert "interrupted by SIGTERM" in told.err


PROTOCOL = """
model = "tiny"
output_dir = "out"
methods = ["think"]
zero_shot = []
steps = 100000
test_limit = 2
[data]
phantoms = true
[modality]
slices = ["CT"]
train_slices = ["CT"]
[settings]
image_size = 56
max_completion_tokens = 4
prompts_per_step = 1
[settings.grpo]
group_size = 2
beta = 0.0
"""


def endless(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Each command on more work than it gets to do; the file whose growth says it is at work."""
    (folder / "p.toml").write_text(PROTOCOL, encoding="utf-8")
    size = ["--image-size", "56", "--max-completion-tokens", "4"]
    small = ["--model", "tiny", *size, "--batch-size", "2", "--output-dir", "out"]
    train_flags = ["--train-json", "phantoms:CT", "--prompts-per-step", "1", "--group-size", "2"]
    train_flags += ["--beta", "0", "--max-steps", "100000", "--output-dir", "out"]
    return {
        "train": (
            [str(ROOT / "train.py"), "--model", "tiny", *size, *train_flags],
            "out/metrics.jsonl",
        ),
        "evaluate": (
            [str(ROOT / "evaluate.py"), *small, "--json", "phantoms"],
            "out.unfinished/predictions.jsonl",
        ),
        "curate": (
            ["-m", "evaluation.curate", *small, "--json", "phantoms:CT", "--samples", "2"],
            "out/passes.jsonl",
        ),
        "protocol": (
            [str(ROOT / "train.py"), "--protocol", "p.toml"],
            "out/runs/modality/CT/think-seed0/metrics.jsonl",
        ),
    }


GOES_ON = {
    "train": "train.py --resume out",
    "evaluate": "the same command with --output-dir out goes on",
    "curate": "interrupted by SIGTERM: the same command goes on where it was",
    "protocol": "interrupted by SIGTERM: what is finished stays, the same command goes on",
}


@pytest.mark.parametrize("name", GOES_ON)
def test_sigterm_ends_the_real_command_in_order(name, tmp_path):
    arguments, grows = endless(tmp_path)[name]
    command = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "told").open("wb"),
    )
    try:
        file = tmp_path / grows
        while command.poll() is None and not (file.is_file() and b"\n" in file.read_bytes()):
            time.sleep(0.1)
        command.send_signal(signal.SIGTERM)
        status = command.wait()
    finally:
        command.kill()
    told = (tmp_path / "told").read_text(encoding="utf-8")
    assert status == 143, told
    assert GOES_ON[name] in told and "Traceback" not in told
    if name in ("train", "protocol"):
        steps = len(file.read_text(encoding="utf-8").splitlines())
        assert saved(file.parent) == [f"step-{steps:06d}"]
