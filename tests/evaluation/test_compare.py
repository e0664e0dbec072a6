"""`evaluate.py compare`: two evaluations of the same rows, paired by id."""

import json
from dataclasses import replace

import numpy as np
import pytest

import evaluate
from data.examples import VQAExample
from evaluation.answers.finished import Evaluation, read_evaluation
from evaluation.answers.prediction import judge
from evaluation.compare import compare, comparison_table, pair_rows
from evaluation.measures.pairs import mcnemar


def prediction(number, correct, *, image=None, modality="CT", control=None):
    example = VQAExample(
        id=f"test-{number}",
        images=(image or f"{number}.png",),
        question="Which?",
        options=("one", "two"),
        answer="A",
        modality=modality,
        question_type="unknown",
        dataset="set",
        source="test.json",
    )
    text = f"<think>one</think><answer>{'A' if correct else 'B'}</answer>"
    return judge(example, text, mode="think", completion_tokens=3, truncated=False, control=control)


def evaluation(rows, path="somewhere"):
    return Evaluation(path, {"model": "tiny"}, tuple(rows))


def written(directory, rows):
    directory.mkdir()
    (directory / "summary.json").write_text(json.dumps({"evaluation": {"model": directory.name}}))
    lines = [json.dumps(item.to_json()) for item in rows]
    (directory / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    return directory


def test_a_worked_example():
    # 8 rows: 3 right before, 6 after; one right only before, four only after
    before = [True, True, True, False, False, False, False, False]
    after = [True, True, False, True, True, True, True, False]
    first = evaluation([prediction(i, right) for i, right in enumerate(before)])
    second = evaluation([prediction(i, right) for i, right in enumerate(after)])
    entry = compare(first, second)["overall"]
    assert (entry["n"], entry["images"]) == (8, 8)
    assert (entry["first"], entry["second"], entry["change"]) == (3 / 8, 6 / 8, 3 / 8)
    assert (entry["mcnemar"]["first_only"], entry["mcnemar"]["second_only"]) == (1, 4)
    # 5 discordant rows: 2 (1 + 5) / 32
    assert entry["mcnemar"]["p_value"] == pytest.approx(0.375)
    assert entry["low"] < 3 / 8 < entry["high"]
    reverse = compare(second, first)["overall"]
    assert reverse["change"] == -3 / 8
    assert (reverse["low"], reverse["high"]) == pytest.approx((-entry["high"], -entry["low"]))


def test_rows_are_paired_by_id_in_any_order_and_the_others_counted():
    generator = np.random.default_rng(0)
    first = [prediction(i, bool(generator.integers(2))) for i in range(30)]
    second = [prediction(i, bool(generator.integers(2))) for i in range(5, 40)]
    second = [second[i] for i in generator.permutation(len(second))]
    result = compare(evaluation(first), evaluation(second))
    assert result["unpaired"] == {"first": 5, "second": 10}
    right = {item.id: item.correct for item in second}
    pairs = [(item.correct, right[item.id]) for item in first if item.id in right]
    assert result["overall"]["n"] == len(pairs) == 25
    assert result["overall"]["first"] == sum(one for one, _ in pairs) / 25
    assert result["overall"]["second"] == sum(other for _, other in pairs) / 25
    expected = mcnemar([one for one, _ in pairs], [other for _, other in pairs])
    assert result["overall"]["mcnemar"]["p_value"] == expected.p_value


def test_rows_are_told_apart_by_their_fields(tmp_path, capsys):
    languages = ["en", "en", "de", "de", "de"]
    rows = [
        [
            replace(prediction(i, i in right), fields={"lang": lang})
            for i, lang in enumerate(languages)
        ]
        for right in ((0, 2), (0, 1, 2))
    ]
    places = [written(tmp_path / name, some) for name, some in zip("ab", rows, strict=True)]
    output = tmp_path / "c.json"
    flags = ["compare", *map(str, places), "--by", "lang", "--output", str(output)]
    assert evaluate.main(flags) == 0
    found = json.loads(output.read_text())["by_field"]["lang"]
    assert [(name, entry["n"], entry["change"]) for name, entry in found.items()] == [
        ("de", 3, 0.0),
        ("en", 2, 0.5),
    ]
    assert "lang\n de " in capsys.readouterr().out
    assert evaluate.main([*flags[:3], "--by", "size"]) == 2
    assert "--by size: no row has a field of this name" in capsys.readouterr().err


def test_of_answers_of_two_forms_the_message_says_which():
    one = prediction(0, True)
    other = replace(one, form="text", options=(), answer="one")
    with pytest.raises(ValueError, match=r"row test-0 has another .*\(form: letter and text\)"):
        pair_rows(evaluation([one]), evaluation([other]))
    long = replace(one, question="x\x1b" * 99)
    with pytest.raises(ValueError, match=r"\(question: Which\? and (x\\x1b){12}\):"):
        pair_rows(evaluation([one]), evaluation([long]))


def test_slices_stand_apart_and_one_image_gives_no_interval():
    rows = [(i, "CT" if i < 4 else "MRI") for i in range(8)]
    first = [prediction(i, False, modality=m, image="same" if m == "CT" else None) for i, m in rows]
    second = [prediction(i, m == "CT", modality=m, image="same" if m == "CT" else None)
              for i, m in rows]  # fmt: skip
    result = compare(evaluation(first), evaluation(second))
    ct, mri = result["by_modality"]["CT"], result["by_modality"]["MRI"]
    assert (ct["change"], ct["images"], ct["low"]) == (1.0, 1, None)
    assert (mri["change"], mri["images"]) == (0.0, 4)
    assert -mri["low"] == mri["high"] == pytest.approx(1 - 0.025 ** (1 / 4))  # no "0 to 0"
    text = comparison_table(result)
    assert [line.split()[:5] for line in text.splitlines() if "CT" in line] == [
        ["CT", "4", "0.0", "100.0", "+100.0"]
    ]
    assert max(len(line) for line in text.splitlines()) < 100


def test_another_question_under_the_same_id_is_refused():
    one = prediction(0, True)
    for change in ({"question": "Another?"}, {"options": ("one", "2")}, {"answer": "B"}):
        other = replace(one, **change)
        with pytest.raises(ValueError, match=r"row test-0 has another question, .* in a than in b"):
            pair_rows(evaluation([one], "a"), evaluation([other], "b"))
    with pytest.raises(ValueError, match="b answers a row twice"):
        pair_rows(evaluation([one], "a"), evaluation([one, one], "b"))
    with pytest.raises(ValueError, match="have no row in common: evaluate both on the same file"):
        pair_rows(evaluation([one], "a"), evaluation([prediction(1, True)], "b"))


def test_the_command_reads_what_was_written_without_controls(tmp_path, capsys):
    rows = [prediction(i, i % 2 == 0) for i in range(6)]
    blank = [prediction(i, False, control="blank") for i in range(6)]
    permuted = [replace(rows[0], permutation=(1, 0))]
    first = written(tmp_path / "first", [*rows, *blank, *permuted])
    second = written(tmp_path / "second", [prediction(i, True) for i in range(6)])
    assert read_evaluation(first).rows == tuple(rows)
    output = tmp_path / "result.json"
    assert evaluate.main(["compare", str(first), str(second), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "+50.0" in printed and "first: first" in printed.replace("\n", " ")
    result = json.loads(output.read_text())
    assert result["overall"]["change"] == 0.5
    assert result["evaluations"]["second"] == {"model": "second"}
    assert evaluate.main(["compare", str(first), str(second), "--output", str(output)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["no summary", "cut line", "no evaluation", "a list", "nothing"])
def test_what_is_no_evaluation_is_named(tmp_path, capsys, damage):
    good = written(tmp_path / "good", [prediction(0, True)])
    bad = tmp_path / "bad"
    if damage != "nothing":
        written(bad, [prediction(0, True)])
    if damage == "no summary":
        (bad / "summary.json").unlink()
    elif damage == "cut line":
        lines = (bad / "predictions.jsonl").read_text()
        (bad / "predictions.jsonl").write_text(lines[: len(lines) // 2])
    elif damage == "a list":
        (bad / "summary.json").write_text('{"evaluation": []}')
    elif damage == "no evaluation":
        (bad / "summary.json").write_text("{}")
    assert evaluate.main(["compare", str(good), str(bad)]) == 2
    error = capsys.readouterr().err
    assert f"{bad} holds no finished evaluation" in error and "Traceback" not in error
