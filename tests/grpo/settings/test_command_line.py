"""What the command line's settings say of themselves before a run begins."""

import pytest

from grpo.settings.command_line import config_of, say_shipped, train_parser
from grpo.settings.resolve import resolve


def test_what_was_not_given_but_taken_is_printed(capsys):
    config = config_of({}, None)
    out = capsys.readouterr().out
    assert config.model == "tiny" and config.train_json == ("phantoms",)
    assert "the embedded default: model tiny, data phantoms" in out
    assert "taken from configs/phantoms.toml, since not given: " in out
    assert f"image_size {config.image_size}" in " ".join(out.split())


def test_nothing_is_said_of_a_run_whose_folder_is_refused(capsys):
    def refuse(output_dir, model):
        raise ValueError(f"{output_dir} of {model} is in use")

    with pytest.raises(ValueError, match="mine of tiny is in use"):
        config_of({"output_dir": "mine"}, None, refuse)
    assert capsys.readouterr().out == ""


def test_a_shipped_file_is_said_and_ones_own_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config_of({}, "phantoms.toml")
    assert "phantoms.toml: no such file here, the shipped one is taken: " in capsys.readouterr().out
    (tmp_path / "phantoms.toml").write_text('model = "tiny"\ntrain_json = ["phantoms"]\n')
    say_shipped("phantoms.toml")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        ({"eval_every": 5, "eval_limit": 3}, "--eval-every, --eval-limit: nothing is evaluated in"),
        ({"beta": 0.0, "reference_device": "cpu"}, "--reference-device: without a KL term (--beta"),
        ({"beta": 0.1, "reference_device": "cpu"}, None),
        ({"beta": 0.0, "reference_device": "auto"}, None),
        ({"eval_json": ("e.json",), "eval_every": 5}, None),
    ],
)
def test_flags_that_do_nothing_beside_the_others_are_warned_about(flags, warning, capsys):
    given = {"model": "Qwen/Qwen2-VL-2B-Instruct", "train_json": ("a.json",), **flags}
    config_of(given, None)
    err = capsys.readouterr().err
    assert (err == "") if warning is None else err.startswith(f"warning: {warning}")


def test_tiny_on_real_data_takes_how_it_is_asked_and_nothing_else():
    resolved = resolve({"model": "tiny", "train_json": ("a.json",)}, None)
    taken = resolved.taken["configs/phantoms.toml"]
    assert {"mode", "image_size", "max_completion_tokens"} >= set(taken) != set()
    assert not resolved.by_default


def test_the_parser_knows_configs_runs_and_protocols():
    flags = ["--config", "a.toml", "--resume", "runs/mine", "--protocol", "p.toml"]
    parsed = vars(train_parser().parse_args(flags))
    assert {name: str(value) for name, value in parsed.items() if value is not None} == {
        **{"config": "a.toml", "resume": "runs/mine", "protocol": "p.toml"}
    }
