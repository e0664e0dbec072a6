"""evaluate.py from the command line: the embedded default, real files, and every refusal."""

import json

import pytest

import evaluate
from evaluation.asking.asked_model import chosen_policy
from evaluation.measures.summary import summarize

ENTRY_KEYS = {"accuracy", "n", "low", "high", "chance"}


def run(capsys, *arguments):
    status = evaluate.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def read(directory):
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    lines = (directory / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return summary, [json.loads(line) for line in lines]


@pytest.mark.parametrize("flags", [(), ("--model", "tiny", "--json", "phantoms")])
def test_the_embedded_model_on_the_embedded_questions(tmp_path, capsys, flags):
    place = tmp_path / "out"
    status, out, _ = run(
        capsys, *flags, "--limit", 40, "--output-dir", place, "--max-completion-tokens", 6
    )
    assert status == 0
    summary, predictions = read(place)
    assert len(predictions) == summary["overall"]["n"] == 40
    # a sample of 40 is spread over the 8 modalities and 5 question types
    assert {entry["n"] for entry in summary["by_modality"].values()} == {5}
    assert {entry["n"] for entry in summary["by_question_type"].values()} == {8}
    assert summary["overall"].keys() >= ENTRY_KEYS
    assert summary["overall"]["chance"] == 0.25
    num_correct = sum(item["correct"] for item in predictions)
    assert summary["overall"]["accuracy"] == num_correct / 40
    thoughts = summary["thoughts"]
    assert thoughts["n"] == sum(entry["n"] for entry in thoughts["classes"].values()) == 40
    assert "names the chosen option" in out
    assert summary["evaluation"]["model"] == "tiny"
    assert summary["evaluation"]["max_completion_tokens"] == 6
    assert summary["evaluation"]["origins"]["image_size"] == "configs/phantoms.toml"
    assert summary["evaluation"]["data"]["limit"] == 40
    assert "40 of 800 in phantoms" in out
    assert " Ultrasound " in out
    assert str(place / "summary.json") in out
    assert out.endswith(f"report: {place / 'report.html'}\n")
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page and "://" not in page


def test_one_slice_and_one_seed_give_the_same_rows_again(tmp_path, capsys):
    ids = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        flags = ("--model", "tiny", "--json", "phantoms:CT", "--limit", 5, "--seed", seed)
        run(capsys, *flags, "--max-completion-tokens", 2, "--output-dir", tmp_path / name)
        summary, predictions = read(tmp_path / name)
        assert list(summary["by_modality"]) == ["CT"]
        ids.append([item["id"] for item in predictions])
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_a_real_layout_on_a_real_file(tmp_path, capsys, shared, nano_dirs, family):
    card = {"mode": "no_think", "image_size": 112, "max_completion_tokens": 5, "step": 7}
    model = tmp_path / "model"
    model.mkdir()
    for file in nano_dirs[family].iterdir():
        (model / file.name).symlink_to(file)
    (model / "groupwise.json").write_text(json.dumps(card))
    mini = shared / "real_mini"
    flags = ("--json", mini / "Microscopy_test.json", "--image-root", mini, "--limit", 6)
    status, out, err = run(
        capsys, "--model", model, *flags, "--image-size", 56, "--output-dir", tmp_path / "out"
    )
    assert status == 0
    summary, predictions = read(tmp_path / "out")
    assert list(summary["by_modality"]) == ["Microscopy"]
    assert all(item["id"].startswith("Microscopy_test-") for item in predictions)
    assert all(item["completion_tokens"] <= 5 for item in predictions)
    assert summary["evaluation"]["step"] == 7
    assert (summary["evaluation"]["mode"], summary["evaluation"]["image_size"]) == ("no_think", 56)
    assert "warning: --image-size 56 differs from the 112" in err
    assert "(groupwise.json)" in out


def test_real_splits_without_their_images_say_how_many_are_missing(tmp_path, capsys, shared):
    split = shared / "omnimedvqa_splits" / "test" / "X-Ray_test.json"
    flags = ("--model", "tiny", "--json", split, "--image-root", tmp_path)
    status, out, err = run(capsys, *flags, "--output-dir", tmp_path / "out")
    assert (status, out) == (2, "")
    assert "1,535 of 1,535 image files are missing" in err
    assert not (tmp_path / "out").exists()


def rows_file(tmp_path, *extra):
    rows = [
        {"image": "a.png", "problem": "Which? A)x, B)y", "solution": "<answer> A </answer>"},
        *extra,
    ]
    file = tmp_path / "rows_test.json"
    file.write_text(json.dumps(rows))
    from PIL import Image

    Image.new("RGB", (84, 84)).save(tmp_path / "a.png")
    return file


def test_bad_rows_stop_the_evaluation_or_are_counted(tmp_path, capsys):
    bad = {"image": "a.png", "problem": "Which? A)x, B)y", "solution": "<answer> D </answer>"}
    file = rows_file(tmp_path, bad)
    flags = ("--model", "tiny", "--json", file, "--image-root", tmp_path)
    flags = (*flags, "--max-completion-tokens", 2, "--output-dir", tmp_path / "out")
    status, _, err = run(capsys, *flags)
    assert status == 2
    assert "row 1" in err
    status, out, _ = run(capsys, *flags, "--skip-bad-rows")
    assert status == 0
    assert read(tmp_path / "out")[0]["evaluation"]["data"]["skipped_rows"] == 1
    assert "skipped rows    1, the first:" in out


def test_what_does_not_fit_into_the_context_ends_with_the_samples_name(tmp_path, capsys):
    flags = ("--limit", 3, "--max-completion-tokens", 10**6, "--output-dir", tmp_path / "out")
    status, _, err = run(capsys, *flags)
    assert status == 2
    assert "3 of 800 rows of phantoms_heldout cannot be used" in err
    assert "  - phantoms_heldout, row " in err
    assert "exceed the model's context" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "tiny"], "--model tiny without --json: add the test file"),
        (["--json", "phantoms"], "--json phantoms without --model: add a checkpoint's directory"),
        (["--model", "gone/for/good", "--json", "phantoms"], "no model directory gone/for/good"),
        (["--model", "{tmp}", "--json", "phantoms"], "config.json"),
        (["--model", "tiny", "--json", "{tmp}/row.json"], "add --image-root"),
        (["--model", "tiny", "--json", "{tmp}/a.json", "--image-root", "{tmp}/no"], "not a folder"),
        (["--model", "tiny", "--json", "{tmp}/gone.json", "--image-root", "{tmp}"], "not exist"),
        (
            ["--model", "tiny", "--json", "{tmp}/a.json", "--image-root", "{tmp}"],
            "as no data file does",
        ),
        (["--model", "tiny", "--json", "phantoms:PET"], "unknown slice 'PET'"),
        (["--mode", "thinking"], "unknown mode 'thinking': use one of"),
        (["--device", "tpu"], "device 'tpu' is not there: use one of cpu"),
        (["--dtype", "int8"], "dtype 'int8' is unknown: use one of"),
        (["--limit", "0"], "--limit 0 must be at least 1"),
        (["--limit", "-2"], "--limit -2 must be at least 1"),
        (["--batch-size", "0"], "--batch-size 0 must be at least 1"),
        (["--seed", "-1"], "--seed -1 must be at least 0"),
        (["--controls", "noise"], "unknown control 'noise': use one of blank, shuffled"),
        (["--shuffle-within", "modality"], "without a shuffled control: add --controls shuffled"),
        (["--controls", "shuffled", "--shuffle-within", "x"], "unknown stratum 'x'"),
        (["--permute-options", "1"], "--permute-options 1 must be at least 2"),
        (["--image-size", "-84"], "--image-size -84 must be at least 0"),
        (["--max-completion-tokens", "0"], "--max-completion-tokens 0 must be at least 1"),
        (["--prompt-template", "{tmp}/a.json"], "{question} stands 0 times"),
        (["--output-dir", "{tmp}"], "holds files (a.json ..): name another --output-dir"),
    ],
)
def test_a_users_mistake_ends_with_one_message_and_status_2(tmp_path, capsys, flags, message):
    (tmp_path / "a.json").write_text("no JSON")
    row = {"image": "a.png", "problem": "? A)a, B)b", "solution": "<answer> A </answer>"}
    (tmp_path / "row.json").write_text(json.dumps([row]))
    output = () if "--output-dir" in flags else ("--output-dir", tmp_path / "out")
    status, _, err = run(capsys, *(flag.replace("{tmp}", str(tmp_path)) for flag in flags), *output)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--control", "blank"], "unrecognized arguments: --control blank"),
        (["--out", "x"], "unrecognized arguments: --out x"),  # no abbreviations
        (["--limit", "many"], "invalid int value: 'many'"),
        (["matrices"], "unknown subcommand 'matrices': use ask, matrix, compare or export"),
        (["matrix"], "the following arguments are required: --models, --json, --output-dir"),
        (["--json"], "expected at least one argument"),
    ],
)
def test_an_unknown_flag_is_refused(capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(flags)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("command", [[], ["ask"], ["matrix"]])
def test_help_explains_every_flag(capsys, command):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([*command, "--help"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("groupwise.json", "--mode", "--image-size", "--device", "--prompt-template"):
        assert words in out
    assert ("runs/<date>-<time>-<model>-evaluation" in out) == (command == [])


def test_the_policy_stays_in_the_mode_it_is_made_for():
    assert chosen_policy("tiny", "cpu", "auto").training


def test_the_summary_is_that_of_its_predictions(tmp_path, capsys):
    from evaluation.answers.prediction import Prediction

    flags = ("--limit", 8, "--max-completion-tokens", 4, "--output-dir", tmp_path / "out")
    run(capsys, *flags)
    summary, lines = read(tmp_path / "out")
    again = summarize([Prediction(**line) for line in lines])
    assert {name: summary[name] for name in again} == again
