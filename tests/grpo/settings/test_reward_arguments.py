"""The file of reward arguments: read, kept as a path, and the same when a run goes on."""

from dataclasses import asdict, replace

import pytest

from grpo.run.provenance import check_unchanged_rewards, source_checksums
from grpo.settings.absolute import with_absolute_paths
from grpo.settings.config import GRPOConfig
from grpo.settings.moved import check_counterparts, check_places, names_now
from grpo.settings.resolve import resolve_config
from grpo.settings.reward_arguments import RewardArguments


def file_of(folder, text, name="arguments.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_its_tables_are_those_of_functions_and_its_text_is_kept(tmp_path):
    text = '[brief]\nlimit = 40\nwords = ["a", "b"]\n\n[other]\n'
    found = RewardArguments.read(str(file_of(tmp_path, text)))
    assert found.tables == {"brief": {"limit": 40, "words": ["a", "b"]}, "other": {}}
    assert found.text == text
    assert RewardArguments.read("") == RewardArguments()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limit = 40\n", "arguments.toml: limit stands in no table: write it below .function."),
        ("[brief\n", "arguments.toml is not TOML"),
        (None, "--reward-arguments .*gone.toml cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text, told, tmp_path):
    path = tmp_path / "gone.toml" if text is None else file_of(tmp_path, text)
    with pytest.raises(ValueError, match=told):
        RewardArguments.read(str(path))


def test_the_supervised_baseline_refuses_it(tmp_path):
    given = {"method": "sft", "reward_arguments": str(file_of(tmp_path, ""))}
    with pytest.raises(ValueError, match="--reward-arguments"):
        resolve_config(given)


def test_its_path_becomes_absolute_and_its_checksum_is_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = file_of(tmp_path, "[a]\n")
    config = with_absolute_paths(GRPOConfig(reward_arguments="arguments.toml"))
    assert config.reward_arguments == str(path)
    sums = source_checksums(config, "", {})
    assert f"reward arguments {path}" in sums and "prompt template" in sums


def test_a_run_goes_on_with_the_same_text_wherever_it_lies_and_with_no_other(tmp_path):
    old, moved = file_of(tmp_path, "[a]\n"), file_of(tmp_path, "[a]\n", "moved.toml")
    config = GRPOConfig(reward_arguments=str(old))
    stored = {"config": asdict(config), "checksums": source_checksums(config, "", {})}
    now = replace(config, reward_arguments=str(moved))
    check_counterparts(config, now)
    assert names_now(stored["config"], now) == {
        f"reward arguments {old}": f"reward arguments {moved}"
    }
    check_unchanged_rewards(stored, now)
    moved.write_text("[a]\nx = 1\n")
    with pytest.raises(
        ValueError, match=r"reward arguments .*moved\.toml .* changed since the run"
    ):
        check_unchanged_rewards(stored, now)
    old.unlink()
    with pytest.raises(ValueError, match=r"not found: --reward-arguments .* --resume .* PLACE"):
        check_places(config, tmp_path)


@pytest.mark.parametrize(("then", "now"), [("", "b.toml"), ("a.toml", "")])
def test_a_run_without_one_gets_none_and_one_with_one_keeps_it(then, now):
    with pytest.raises(ValueError, match="cannot resume: --reward-arguments is"):
        check_counterparts(GRPOConfig(reward_arguments=then), GRPOConfig(reward_arguments=now))
