"""The command: the split that is written, the samples of each row, a run that was interrupted."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.phantoms.export import write_phantoms
from data.prompts import TEMPLATES
from data.reading.readers import load_examples
from data.turns import TurnBuilder
from evaluation.asking.samples import sample_groups
from evaluation.curate import sampler
from evaluation.curate.__main__ import main
from evaluation.curate.split import split_files
from models import load_policy
from rewards import parse_completion

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, rows_per_cell=2)
    return folder


def command(phantoms, output, *extra):
    files = [phantoms / "modality" / f"{name}_train.json" for name in ("CT", "MRI")]
    flags = ["--model", "tiny", "--json", *files, "--image-root", phantoms, "--samples", 3]
    flags += ["--batch-size", 12, "--limit", 14, "--max-completion-tokens", 40]
    return [str(flag) for flag in [*flags, "--output-dir", output, *extra]]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(phantoms, tmp_path_factory):
    output = tmp_path_factory.mktemp("curated") / "out"
    assert main(command(phantoms, output, "--drop", "always_wrong", "blind")) == 0
    return output


def test_the_written_split_read_back_is_the_kept_rows(phantoms, finished):
    lines = [json.loads(line) for line in (finished / "curate.jsonl").open(encoding="utf-8")]
    assert len(lines) == 14
    kept = [line["id"] for line in lines if line["kept"]]
    assert 0 < len(kept) < 14
    for line in lines:
        assert line["kept"] == (not {"always_wrong", "blind"} & set(line["reasons"]))
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert summary["kept"] == len(kept) == sum(summary["files"].values())
    counts = Counter(reason for line in lines for reason in line["reasons"])
    assert {name: entry["rows"] for name, entry in summary["reasons"].items()} == {
        name: counts[name] for name in summary["reasons"]
    }
    for name in summary["files"]:
        original = load_examples(phantoms / "modality" / name, phantoms)
        expected = [item for item in original if item.id in kept]
        found = load_examples(finished / "split" / name, phantoms)
        assert len(found) == summary["files"][name]
        for one, other in zip(found, expected, strict=True):
            assert replace(one, id=other.id, source=other.source) == other


def test_a_file_that_changed_meanwhile_is_not_cut(phantoms, tmp_path):
    source = tmp_path / "CT_train.json"
    shutil.copy(phantoms / "modality" / "CT_train.json", source)
    checksum = {str(source): hashlib.sha256(source.read_bytes()).hexdigest()}
    examples = load_examples(source, phantoms)
    kept = [True] * len(examples)
    assert len(split_files([str(source)], examples, kept, checksum)["CT_train.json"]) == len(kept)
    source.write_text(json.dumps(json.loads(source.read_text())[::-1]))
    with pytest.raises(ValueError, match="was changed while its rows were sampled"):
        split_files([str(source)], examples, kept, checksum)


def test_the_counts_are_those_of_each_row_sampled_alone(phantoms, finished):
    policy, turns = load_policy("tiny"), TurnBuilder(TEMPLATES["think"], 84)
    lines = [json.loads(line) for line in (finished / "passes.jsonl").open(encoding="utf-8")]
    files = [phantoms / "modality" / f"{name}_train.json" for name in ("CT", "MRI")]
    examples = {item.id: item for file in files for item in load_examples(file, phantoms)}
    for place in (0, 5, 13):
        example = examples[lines[place]["id"]]
        turn = turns(example)
        prompt = policy.processor.encode(turn.text, turn.images)
        for shown, name in ((prompt, "passes"), (prompt.blanked(), "blank_passes")):
            ((*texts,),) = sample_groups(
                policy, [shown], [place], group_size=3, max_completion_tokens=40, seed=0
            )
            parsed = [parse_completion(text, "think", example.options) for text in texts]
            right = [item.well_formed and item.choice == example.answer for item in parsed]
            assert lines[place][name] == sum(right)
    assert any(line["passes"] != line["blank_passes"] for line in lines)


class Broken(KeyboardInterrupt):
    """The user's Ctrl-C, in the middle of a batch."""


def test_an_interrupted_run_goes_on_to_the_same_bytes(phantoms, finished, tmp_path, monkeypatch):
    output, plain = tmp_path / "out", sampler.sample_groups
    calls = iter(range(100))

    def interrupted(*arguments, **given):
        if next(calls) == 3:  # the blank half of the second batch
            raise Broken
        return plain(*arguments, **given)

    arguments = command(phantoms, output, "--drop", "always_wrong", "blind")
    with monkeypatch.context() as patch:
        patch.setattr(sampler, "sample_groups", interrupted)
        assert main(arguments) == 130
    assert len((output / "passes.jsonl").read_bytes().splitlines()) == 4  # the first batch
    with (output / "passes.jsonl").open("ab") as stream:
        stream.write(b'{"id": "CT_tr')  # as a full disk would cut it
    assert main(arguments) == 0
    assert contents(output) == contents(finished)


def test_an_image_that_vanishes_costs_its_row_also_when_a_curation_goes_on(
    phantoms, finished, tmp_path, monkeypatch, capsys
):
    own, output, plain = tmp_path / "own", tmp_path / "out", sampler.sample_groups
    shutil.copytree(phantoms, own)
    ids = [line["id"] for line in lines_of(finished / "curate.jsonl")]
    lost = {item.id: item for name in ("CT", "MRI") for item in load_examples(
        own / "modality" / f"{name}_train.json", own)}[ids[6]]  # of the second batch  # fmt: skip

    def interrupted(*arguments, **given):
        (lost.images[0]).unlink(missing_ok=True)
        if len(arguments[2]) < 4:  # the second batch has lost one row
            raise Broken
        return plain(*arguments, **given)

    arguments = command(own, output, "--drop", "always_wrong", "blind")
    with monkeypatch.context() as patch:
        patch.setattr(sampler, "sample_groups", interrupted)
        assert main(arguments) == 130
    capsys.readouterr()
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "1 rows went bad since the run began" in printed.err
    assert f"not sampled, left out: example {lost.id}: image " in printed.err
    assert "1 rows could not be read to be sampled: none of them is kept" in printed.out
    summary = json.loads((output / "summary.json").read_text())
    assert list(summary["unreadable"]) == [lost.id] and summary["rows"] == len(ids) - 1
    found, whole = (lines_of(folder / "passes.jsonl") for folder in (output, finished))
    for line, other in zip(found, whole, strict=True):
        if line["id"] == lost.id:
            assert line["unreadable"]
        else:
            assert line == other  # the same samples: another row's loss moves none
    assert json.loads((finished / "summary.json").read_text())["unreadable"] == {}


def lines_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_another_setting_does_not_go_on(phantoms, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "settings.json").write_text("{}")
    assert main(command(phantoms, output)) == 2
    assert "was begun with another mode" in capsys.readouterr().err


def test_a_finished_curation_is_left_alone(phantoms, finished, capsys):
    before = contents(finished)
    assert main(command(phantoms, finished)) == 2
    assert "holds a finished curation" in capsys.readouterr().err
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--drop", "boring"), "--drop boring: use some of always_right"),
        (("--samples", "1"), "--samples 1 must be at least 2"),
        (("--blind-share", "0"), "--blind-share 0.0 must lie above 0"),
        (("--prior", "oracle"), "--prior 'oracle': use one of 'lookup'"),
        (("--json", "phantoms", "x_train.json"), "curate phantoms and files apart"),
        (("--image-root", "nowhere"), "is not a folder"),
    ],
)
def test_refusals(phantoms, tmp_path, capsys, flags, words):
    output = tmp_path / "out"
    assert main([*command(phantoms, output), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not output.exists()


def test_phantoms_become_files_by_modality(tmp_path, capsys):
    output = tmp_path / "out"
    flags = ("--samples", "2", "--limit", "4", "--max-completion-tokens", "2", "--drop")
    status = main(["--model", "tiny", "--json", "phantoms:CT", *flags, "--output-dir", str(output)])
    assert status == 0  # --drop without a reason: all rows are kept
    rows = load_examples(output / "split" / "CT_train.json", tmp_path)
    assert [len(rows), {item.modality for item in rows}] == [4, {"CT"}]
    assert "dropped: nothing" in capsys.readouterr().out


def test_a_row_without_an_image_is_sampled_once_and_has_no_blank_samples():
    rows = [
        VQAExample("t", (), "Which organ?", (), "liver", form="text"),
        *phantom_examples("train", rows_per_cell=1)[:1],
    ]
    turns = TurnBuilder(TEMPLATES["no_think"], 84)
    found = sampler.RowSampler(load_policy("tiny"), turns, "no_think", 8, 2, 0).count(
        rows, range(2)
    )
    assert found[0].blank_passes is None and found[1].blank_passes is not None
    assert [item.unreadable for item in found] == [None, None]
