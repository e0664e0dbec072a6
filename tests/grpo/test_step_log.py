"""What a step leaves: a line without NaN, a warning that names what was one, and the bar's text."""

import json
from types import SimpleNamespace

import pytest

from grpo import step_log
from grpo.methods import TakenStep
from grpo.rollout import PromptBatch
from grpo.run.directory import RunDirectory
from grpo.step_log import StepLog, bar_text
from grpo.watch.bad_steps import BadSteps
from tests.grpo.watch.made_up import LETTER, answered, first_step

BATCH = PromptBatch((), (SimpleNamespace(id="CT-7"),), (0,), 0, redrawn=("a row is redrawn",))
TIMES = {"time/step": 2.0}


class Profiler:
    """Says a table at the end of the second step."""

    def end_step(self, number, metrics):
        assert metrics["time/step"] == 2.0
        return "where the time went" if number == 2 else None


def record(folder, number=1, profiler=None, skipped=False, **metrics):
    found = {"loss": 0.5, "grad_norm": 1.0, "completion_tokens": 10.0, "kl": None} | metrics
    watch = SimpleNamespace(look=lambda number, _, sampled: [f"{number}: {sampled}"])
    log = StepLog(RunDirectory(folder), BadSteps(limit=5), watch, profiler)
    line = log.record(number, TakenStep(found, samples=4), TIMES, BATCH, skipped=skipped)
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1]) == line
    assert not (folder / "rollouts.jsonl").exists()  # nothing was sampled
    return line


def test_a_line_has_the_steps_numbers_rates_and_times(tmp_path):
    line = record(tmp_path)
    assert (line["samples_per_second"], line["tokens_per_second"]) == (2.0, 20.0)
    assert (line["step"], line["redrawn_rows"], line["bad_steps"]) == (1, 1, 0)


def test_what_is_not_finite_is_null_and_named_and_what_was_not_known_is_not(tmp_path, capsys):
    line = record(tmp_path, loss=float("nan"), entropy=float("inf"))
    assert (line["loss"], line["entropy"], line["kl"]) == (None, None, None)
    err = " ".join(capsys.readouterr().err.split())
    assert "step 1: not finite, null in metrics.jsonl: loss, entropy" in err
    assert "kl" not in err
    assert "warning: 1: None" in err, "what listed answers or targets gave is watched, too"


def test_a_step_without_an_update_is_told_with_its_examples(tmp_path, capsys):
    line = record(tmp_path, number=3, skipped=True, grad_norm=float("inf"))
    assert (line["bad_steps"], line["grad_norm"]) == (1, None)
    err = " ".join(capsys.readouterr().err.split())
    assert "step 3: the gradient's norm is inf: the update is left out (1 in a row" in err
    assert "the step's examples: CT-7" in err


def test_a_profiles_table_is_printed_when_it_is_there(tmp_path, capsys):
    record(tmp_path, number=1, profiler=Profiler())
    assert "where the time went" not in capsys.readouterr().out
    record(tmp_path, number=2, profiler=Profiler())
    assert "where the time went" in capsys.readouterr().out


def test_the_first_rollout_of_a_run_is_shown_and_no_other(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step_log, "rollout_rows", lambda *_: [])
    watch = SimpleNamespace(look=lambda number, *_: [f"{number} looked at"])
    log = StepLog(RunDirectory(tmp_path), BadSteps(limit=5), watch, None)
    sampled = first_step([(LETTER, answered("B", "C"))])
    metrics = {"loss": 0.5, "grad_norm": 1.0, "completion_tokens": 10.0}
    for number in (1, 2):
        log.record(number, TakenStep(metrics, 2, sampled), TIMES, BATCH, skipped=False)
    printed = capsys.readouterr()
    assert printed.out.count("the first rollout, 2 of its 2 completions") == 1
    assert printed.out.splitlines()[1] == "  CT-7 (key: B, Heart): <answer>B</answer>"
    assert "1 looked at" in printed.err and "2 looked at" in printed.err


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({"reward": 1.5, "loss": 0.25, "kl": None, "time/step": 2.0}, "reward 1.50 s/step 2.00"),
        ({"loss": 0.25, "time/step": 2.0}, "loss 0.250 s/step 2.00"),  # supervised
        ({"completion_tokens": 17.4}, "tokens 17"),
    ],
)
def test_the_bar_shows_what_a_method_has(metrics, text):
    assert bar_text(metrics) == text
