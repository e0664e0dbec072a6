"""Benchmarks run every line at tiny sizes; no bar is judged here."""

import importlib
import json
import re
import sys
from dataclasses import asdict

import pytest
import torch

from rewards.modes import MODES
from tests.places import ROOT

pytestmark = pytest.mark.model

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark the way `python benchmarks/NAME.py` does, and hand it flags."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name, *flags):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags])
        return importlib.import_module(name)

    return load


def test_growth_prints_a_table_with_exponents_of_time(load, capsys):
    growth = load("growth", "--smoke")
    with pytest.raises(SystemExit) as ended:
        growth.main()
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert printed.count("time: exponent") == 2 and "without optimizer" in printed


def test_objectives_are_compared_and_drawn(load, tmp_path, monkeypatch, capsys):
    load("objectives", "--smoke", "--presets", "gspo").main()
    assert "gspo" in (told := capsys.readouterr().out) and "% ->" in told
    script = load("objectives", "--figure")
    monkeypatch.setattr(script, "RESULT", tmp_path / "runs.json")
    monkeypatch.setattr(script, "FIGURE", tmp_path / "objectives.png")
    run = {"preset": "gspo", "steps": 20, "n": 9, "before": 0.2, "after": 0.5}
    run |= {name: [0.5, None] for name in script.LOGGED} | {"reward": [1.0, 1.5]}
    script.keep([run | {"seed": seed} for seed in (1, 0)])
    script.keep([run | {"seed": 1, "after": 0.7}, run | {"seed": 0, "preset": "grpo"}])
    kept = [(one["preset"], one["seed"], one["after"])
            for one in json.loads(script.RESULT.read_text())["runs"]]  # fmt: skip
    assert kept == [("grpo", 0, 0.5), ("gspo", 0, 0.5), ("gspo", 1, 0.7)]
    script.main()
    assert script.FIGURE.read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_answer_is_trained_and_evaluated_before_and_after(load, capfd):
    load("kinds", "--smoke", "--ways", "count").main()
    assert re.search(r"count +seed 0: [\d.]+% -> [\d.]+% in 2 steps", capfd.readouterr().out)


def test_what_the_base_model_sees_and_answers_is_measured(load, capsys):
    load("base_model", "--smoke").main()
    printed = capsys.readouterr().out
    assert re.search(r"^description: modality [\d.]+%, anatomy", printed, re.MULTILINE)
    assert re.search(r"^think, 2 samples at temperature 1: right", printed, re.MULTILINE)


def test_the_embedded_page_has_the_committed_figures_of_the_base_model():
    committed = json.loads((BENCHMARKS / "results" / "base_model_cpu.json").read_text())
    shares, page = committed["shares"], (ROOT / "docs" / "embedded.md").read_text()
    seen = ", ".join(f"{100 * share:.1f}" for share in shares["description"].values())
    assert f"| {seen} % |" in page
    right = [f"{100 * shares[f'{mode}, greedy']['right']:.1f}" for mode in MODES]
    assert f"| {', '.join(right)} % (answered A" in page
    drawn = [
        f"{100 * share:.1f} %" for share in shares["think, 8 samples at temperature 1"].values()
    ]
    blank = shares["think, greedy, blank images"]
    drawn_blank = [f"{100 * blank[name]:.1f} %" for name in ("right", "well formed")]
    assert f"| {'; '.join(drawn)} |" in page and f"| {'; '.join(drawn_blank)} |" in page


@pytest.fixture
def tiny(load, tmp_path):
    """A size of the smoke run and its checkpoint."""
    size = load("growth_cases").SMOKE[0].sizes[0]
    dims = load("model_sizes").MODELS[size.model]
    checkpoint = load("common").write_checkpoint(
        tmp_path / "checkpoint", image_size=size.image_size, **dims
    )
    return size, checkpoint


def test_growth_measures_a_size_in_a_process_of_its_own(load, tiny):
    size, checkpoint = tiny
    row = load("common").in_a_process(
        load("growth").__file__, "--smoke", "--checkpoint", str(checkpoint),
        "--size-json", json.dumps(asdict(size)),
    )  # fmt: skip
    assert len(row["all_seconds"]) == 1 and row["image_tokens"] == 9
    # what is kept from the first step on: two moments and a gradient per weight
    assert row["peak_mebibytes"] > 12 * row["parameters"] / 2**20


def test_parts_without_an_optimizer_leave_gradients_in_the_weights_own_dtype(load, tiny):
    """7B fits because nothing of it is held in float32, and frozen weights have no gradient."""
    size, checkpoint = tiny
    pair = load("our_step").load_pair(checkpoint, dtype="bfloat16", freeze_vision=True)
    cases = load("step_cases")
    case = cases.Case("", size.N, size.G, size.C, size.image_size)
    turns = cases.make_turns(case, checkpoint, steps=1)
    ours = load("growth").WithoutOptimizer(*pair, case, turns)
    ours.step(0)
    policy = ours.policy
    assert ours.optimizer is None and policy.visual is ours.reference.visual
    assert policy.output_weight.grad is policy.text.embed_tokens.weight.grad is None
    assert {p.grad.dtype for p in policy.text.layers.parameters()} == {torch.bfloat16}


def test_a_process_that_fails_says_why(load, tmp_path):
    common, script = load("common"), tmp_path / "broken.py"
    script.write_text("import sys\nsys.exit('no such size')")
    with pytest.raises(RuntimeError, match=r"broken.py --size 3 failed:\nno such size"):
        common.in_a_process(str(script), "--size", "3")


def test_gpu_runs_every_line_on_a_cpu(load, capsys, monkeypatch):
    gpu = load("gpu", "--smoke", "--device", "cpu")
    monkeypatch.setattr(gpu, "find_spec", lambda _name: None)  # with or without TRL, the same test
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert '"greedy_tokens_equal": true' in printed and "TRL it is not installed" in printed
    assert printed.count("whole step, times TRL: not measured, wanted at least 6") == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device", "cpu"], "on a CPU only --smoke --device cpu runs"),
        ([], "there is no CUDA device here"),
    ],
)
def test_gpu_refuses_where_it_cannot_measure(load, capsys, monkeypatch, flags, said):
    gpu = load("gpu", *flags)
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert said in capsys.readouterr().err


def test_the_image_check_gives_the_same_verdicts_at_both_starts(load, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # restored: the benchmark sets its own
    load("image_check", "--smoke").main()
    assert "60 images: first start" in capsys.readouterr().out


@pytest.mark.slow
def test_fuzzed_inputs_are_counted_by_what_came_of_them(load, capsys):
    load("fuzz", "--smoke").main()
    printed = capsys.readouterr().out
    for kind in ("rows", "images"):
        found = json.loads(re.search(rf"^{kind}: (\{{.*?^\}})", printed, re.M | re.S)[1])
        assert sum(found["outcomes"].values()) == found["inputs"] == 8


@pytest.mark.slow
def test_a_made_up_file_of_each_container_is_read_in_a_process_of_its_own(load, capsys):
    load("reading", "--smoke").main()
    lines = [line.partition(": ") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _, _ in lines] == ["json", "jsonl", "csv", "parquet"]
    for _, _, text in lines:
        found = json.loads(text[: text.index(", ratio wanted")])
        assert found["rows"] > 7000 and found["most_mebibytes"] >= found["examples_mebibytes"] > 5


@pytest.mark.slow
def test_a_step_is_predicted_from_the_speed_of_this_machine(load):
    scale = load("scale")
    found = scale.measure(scale.SMOKE[0], repeats=1, seconds=0.0)
    assert set(found["phases"]) == {"rollout", "reference", "update"}
    for phase in found["phases"].values():
        assert phase["predicted"]["median"] > 0 and phase["measured"]["median"] > 0
    assert found["operations"]["update"] > found["operations"]["reference"] > 100
    assert scale.table([found]).rows[0][:2] == ["64 x 2", f"2 x 2 x {found['P']} x 4"]


def test_the_other_benchmarks_still_import(load):
    for name in ("prefix", "rollout", "step", "manifest", "checkpoint_memory"):
        assert load(name).main


def test_a_mutant_that_survives_is_explained_and_an_explanation_has_a_mutant(load, monkeypatch):
    mutants = load("mutants")
    known = {"equal": ["f: x + 1", "f: gone"]}
    monkeypatch.setattr(mutants, "WHY", {"maths.py": known})
    rows, wrong = mutants.explained("maths.py", [("f", "x", "x + 1"), ("g", "x", "x + 1")])
    assert [row["why"] for row in rows] == ["equal", ""]
    assert wrong == ["unexplained: g: x + 1", "explained, but killed: f: gone"]
    assert mutants.function_of("grpo.loss.x_token_weights__mutmut_3") == "token_weights"
    assert mutants.function_of("grpo.rollout.xǁRolloutǁselect__mutmut_12") == "Rollout.select"


def test_a_step_is_timed_beside_another_checkouts(load, tmp_path):
    output = tmp_path / "result.json"
    script = load("before_after", "--smoke", "--before", str(ROOT), "--output", str(output))
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert not ended.value.code
    (row,) = json.loads(output.read_text())["rows"]
    assert row["ratio"] > 0
    assert row["before"]["repeats"] == row["now"]["repeats"] == 2


def test_steps_that_do_not_the_same_have_no_ratio(load):
    script = load("before_after")
    before = {"loss": 0.5, "kl": None, "time/step": 1.0, "tokens_per_second": 9.0}
    assert script.differing(before, {**before, "time/step": 2.0, "tokens_per_second": 3.0}) == []
    assert script.differing(before, {**before, "loss": 0.5 + 1e-12}) == ["loss"]
    assert script.differing(before, {"loss": 0.5, "kl": 0.0}) == ["kl"]
