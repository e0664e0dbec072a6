"""Result files of other evaluators, read back by little readers that share nothing with us."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import evaluate
from data.examples import VQAExample
from evaluation.answers.finished import write_evaluation
from evaluation.answers.prediction import judge
from evaluation.configs import ExportConfig, ScoreConfig
from evaluation.export.evaluators import EVALUATORS, exported_files
from evaluation.measures.summary import summarize
from tests.evaluation.export.readers import READERS
from tests.evaluation.mixed import ANSWERS, answered, question
from tests.places import ROOT

ABOUT = {
    "model": "runs/ct/checkpoints/step-000100",
    "prompt_template": "{question}\n{options}\nGive {answer_form}.",
    "data": {"checksums": {"splits/CT_test.json": "0", "more/MRI_test.jsonl.gz": "1"}},
}
NAMES = {
    "medevalkit": "results.json",
    "vlmevalkit": "ct-step-000100_CT_test-MRI_test.tsv",
    "lmms-eval": "ct-step-000100_samples_CT_test-MRI_test.jsonl",
}
# no tolerance and no accepted text is known to a reader of a result file
EXACT = ("A", "A", "YES", "It is no.", "Left lung", "liver", "3.0", "no idea")


def written(folder, name, rows, about=ABOUT):
    """Write one evaluator's file and return its path."""
    ((file, pieces),) = exported_files([name], about, rows).items()
    (folder / file).write_text("".join(pieces), encoding="utf-8")
    return folder / file


def judged(question, options, completion, answer="A", form="letter"):
    return judge(
        VQAExample("row-0", (Path("a.png"),), question, options, answer, form=form),
        completion,
        mode="think",
        completion_tokens=5,
        truncated=False,
    )


@pytest.mark.parametrize("name", EVALUATORS)
def test_a_reader_of_the_file_finds_the_same_accuracy_and_the_same_right_rows(tmp_path, name):
    rows = answered(EXACT)
    file = written(tmp_path, name, rows)
    assert file.name == NAMES[name]
    found = READERS[name](file)
    assert [right for right, _ in found] == [item.correct for item in rows]
    assert [is_answered for _, is_answered in found] == [item.well_formed for item in rows]
    assert sum(right for right, _ in found) / len(rows) == summarize(rows)["overall"]["accuracy"]


def test_the_rows_of_medevalkit_say_what_was_asked_and_counted(tmp_path):
    rows = json.loads(written(tmp_path, "medevalkit", answered()).read_text(encoding="utf-8"))
    assert rows[0] == {
        "prompt": "What does letter-0 show?\nA) CT\nB) MRI\nC) X-Ray\nD) Ultrasound\nGive one"
        " letter.",
        "choices": ["A. CT", "B. MRI", "C. X-Ray", "D. Ultrasound"],
        "answer": "A",
        "response": "A",
        "correct": True,
    }
    said = [(row["choices"], row["answer"], row["response"], row["correct"]) for row in rows[2:]]
    assert said == [
        ([], "Yes", "Yes", True),
        ([], "No", "", False),
        ([], "left lung", "Left lung", True),
        ([], "heart", "liver", False),
        ([], "3", "3.4", True),
        ([], "10", "", False),
    ]


def test_the_lines_of_vlmevalkit_have_as_many_options_as_the_longest_row(tmp_path):
    file = written(tmp_path, "vlmevalkit", answered())
    with file.open(encoding="utf-8", newline="") as stream:
        heading, *lines = csv.reader(stream, delimiter="\t")
    assert heading == ["index", "question", *"ABCD", "answer", "prediction", "category"]
    assert lines[1][2:] == ["CT", "MRI", "", "", "B", "A", "unknown"]
    assert lines[2][2:] == ["", "", "", "", "Yes", "Yes", "unknown"]


def test_an_open_file_has_no_column_of_options(tmp_path):
    rows = [item for item in answered() if item.form == "text"]
    heading = written(tmp_path, "vlmevalkit", rows).read_text(encoding="utf-8").splitlines()[0]
    assert heading == '"index"\t"question"\t"answer"\t"prediction"\t"category"'


def test_the_samples_of_lmms_eval_hold_the_row_and_the_whole_completion(tmp_path):
    line = written(tmp_path, "lmms-eval", answered()).read_text(encoding="utf-8").splitlines()[4]
    sample = json.loads(line)
    assert (sample["target"], sample["resps"]) == ("left lung", [["Left lung"]])
    doc = sample["doc"]
    assert doc["completion"] == "<answer>Left lung</answer>"
    assert (doc["id"], doc["images"], doc["form"]) == ("text-0", ["d.png"], "text")


@pytest.mark.parametrize("name", EVALUATORS)
def test_the_thought_is_never_the_answer_nor_is_a_letter_of_a_broken_completion(tmp_path, name):
    options = ("Diagnosis A", "Diagnosis B")
    rows = [
        judged("Which?", options, "<think>no, yes, it is A</think> <answer>B</answer>"),
        judged("Which?", options, "It is A. <answer>A</answer>"),  # not well-formed: wrong here
        judged("Which?", options, ""),
    ]
    assert [item.correct for item in rows] == [False] * 3
    text = written(tmp_path, name, rows).read_text(encoding="utf-8")
    assert [right for right, _ in READERS[name](tmp_path / NAMES[name])] == [False] * 3
    if name != "lmms-eval":  # whose doc has the completion
        assert "it is A" not in text and "It is A" not in text
    else:
        resps = [json.loads(line)["resps"] for line in text.splitlines()]
        assert resps == [[["B"]], [[""]], [[""]]]
    if name == "vlmevalkit":
        assert [line.split("\t")[-2] for line in text.splitlines()[1:]] == ['"B"', '"Z"', '"Z"']


@pytest.mark.parametrize("name", EVALUATORS)
def test_texts_of_any_kind_are_read_back(tmp_path, name):
    question = "A \"quoted\"\tquestion\nof two lines, 'single' too: \\ = + None NA 1,5 左"
    options = ('say "x"', "a\tb\nc", "None", "=1+1", " padded ")
    rows = [judged(question, options, "<think>x</think><answer>C</answer>", "C")]
    file = written(tmp_path, name, rows)
    assert READERS[name](file) == [(True, True)]
    if name == "vlmevalkit":
        with file.open(encoding="utf-8", newline="") as stream:
            _, line = csv.reader(stream, delimiter="\t")
        assert line == ["0", question, *options, "C", "C", "unknown"]


def test_what_cannot_be_printed_is_an_escape_in_a_tsv_and_ends_no_line(tmp_path):
    question = "one\rtwo\x00three\x1b[2J\u202e four\u2028five \ud800"
    rows = [judged(question, ("x", "y"), "<think>t</think><answer>A</answer>")] * 2
    file = written(tmp_path, "vlmevalkit", rows)
    assert READERS["vlmevalkit"](file) == [(True, True)] * 2
    text = file.read_text(encoding="utf-8")
    assert r"one\rtwo\x00three\x1b[2J\u202e four" in text
    assert not {"\r", "\x00", "\x1b", "\u202e"} & set(text)


def test_pandas_reads_the_tsv(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not among what this project needs")
    rows = answered()
    frame = pandas.read_csv(written(tmp_path, "vlmevalkit", rows), sep="\t")
    assert list(frame["index"]) == list(range(len(rows)))
    assert list(frame["question"]) == [item.question for item in rows]
    assert frame["prediction"].fillna("").tolist()[:3] == ["A", "A", "Yes"]


@pytest.mark.parametrize("name", EVALUATORS)
def test_several_labels_are_one_text(tmp_path, name):
    thought = "<think>x</think>"
    rows = [
        judged("Which?", (), f"{thought}<answer>{text}</answer>", "disc, line", "labels")
        for text in ("disc, line", "disc", "disc,")
    ]
    found = READERS[name](written(tmp_path, name, rows))
    assert found == [(True, True), (False, True), (False, False)]


# --- rows of every kind, the fields as the evaluators name them ---------------------------------

EVERY_KIND = [
    (question("letter", "letter", "D", "a"), "D", "D"),
    (question("two images", "letter", "B", images=(Path("a.png"), Path("b.png"))), "A", "A"),
    (question("text alone", "letter", "B", options=("CT", "MRI")), "b", "B"),
    (question("yes", "yes_no", "A", "b"), "No.", "No"),
    (question("text", "text", "left lung", "d", accepted=("left side",)), "left side", "left side"),
    (question("number", "number", "3", "e", absolute_tolerance=0.5), "3.25", "3.25"),
    (question("labels", "labels", "disc, line", "f"), "line, disc", "line, disc"),
    (question("unread", "labels", "disc, line", "f"), "", ""),
]
RIGHT = [True, False, True, False, True, True, True, False]
FIELDS = {
    "medevalkit": ["prompt", "choices", "answer", "response", "correct"],
    "vlmevalkit": ["index", "question", *"ABCD", "answer", "prediction", "category"],
    "lmms-eval": ["doc_id", "doc", "target", "resps", "filtered_resps"],
}


def every_kind():
    how = {"mode": "no_think", "completion_tokens": 5, "truncated": False}
    return [judge(row, f"<answer>{text}</answer>", **how) for row, text, _ in EVERY_KIND]


def objects(file):
    """Return a file's rows with their field names, whatever its format."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".tsv":
        return list(csv.DictReader(text.splitlines(), delimiter="\t"))
    return json.loads(text) if file.suffix == ".json" else list(map(json.loads, text.splitlines()))


def test_every_kind_of_row_has_the_fields_that_its_evaluator_names(tmp_path):
    rows = every_kind()
    assert [item.correct for item in rows] == RIGHT
    found = {name: objects(written(tmp_path, name, rows)) for name in EVALUATORS}
    for name, fields in FIELDS.items():
        assert [list(row) for row in found[name]] == [fields] * len(rows)
    keys = ["D", "B", "B", "Yes", "left lung", "3", "disc, line", "disc, line"]
    answers = [answer for _, _, answer in EVERY_KIND]
    medevalkit, vlmevalkit, lmms = found.values()
    assert [row["answer"] for row in medevalkit] == keys
    assert [row["response"] for row in medevalkit] == answers
    assert [row["correct"] for row in medevalkit] == RIGHT
    assert [len(row["choices"]) for row in medevalkit] == [4, 4, 2, 0, 0, 0, 0, 0]
    assert [row["answer"] for row in vlmevalkit] == keys
    assert [row["prediction"] for row in vlmevalkit] == answers
    assert [row["D"] for row in vlmevalkit] == ["Ultrasound"] * 2 + [""] * 6
    assert [row["target"] for row in lmms] == keys
    assert [row["resps"] for row in lmms] == [[[answer]] for answer in answers]
    assert [len(row["doc"]["images"]) for row in lmms] == [1, 2, 0, 1, 1, 1, 1, 1]


def test_what_else_is_right_stands_in_the_one_file_that_has_room_for_it(tmp_path):
    docs = [row["doc"] for row in objects(written(tmp_path, "lmms-eval", every_kind()))]
    assert docs[4]["accepted"] == ["left side"]
    assert docs[5]["absolute_tolerance"] == 0.5
    named = ("accepted", "absolute_tolerance", "relative_tolerance")
    assert [sum(name in doc for name in named) for doc in docs] == [0, 0, 0, 0, 1, 1, 0, 0]


def test_the_documents_program_makes_a_log_that_lmms_eval_scores_again(tmp_path):
    samples, log = written(tmp_path, "lmms-eval", every_kind()), tmp_path / "logs.json"
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    program = text.partition("```python\n")[2].partition("```")[0]
    for name, place in (("samples", samples), ("log", log)):
        program, count = re.subn(
            rf"^{name} = .*$", f"{name} = {place.as_posix()!r}", program, flags=re.MULTILINE
        )
        assert count == 1
    exec(compile(program, "docs/export.md", "exec"), {})
    # as its model reads one: by the task's name, then by doc_id, the first of the first list
    found = json.loads(log.read_text(encoding="utf-8"))
    assert found["args"]["limit"] is None and found["model_configs"]["task"] == "my_task"
    answers = {row["doc_id"]: row["resps"][0][0] for row in found["logs"]}
    assert answers == {number: answer for number, (_, _, answer) in enumerate(EVERY_KIND)}


def test_no_rows_are_files_without_rows(tmp_path):
    for name in EVALUATORS:
        assert READERS[name](written(tmp_path, name, [])) == []


@pytest.mark.parametrize(
    ("model", "sources", "names"),
    [
        ("tiny", ["phantoms:Lesion Grading"], "tiny_phantoms-Lesion-Grading.tsv"),
        ("Qwen/Qwen2-VL-2B-Instruct", ["a/b.c.json"], "Qwen2-VL-2B-Instruct_b.tsv"),
        ("../..", ["/"], "model_rows.tsv"),
        ("m", ["x" * 500 + ".json"], "m_" + "x" * 80 + ".tsv"),
    ],
)
def test_names_are_those_of_files(model, sources, names):
    about = ABOUT | {"model": model, "data": {"checksums": dict.fromkeys(sources, "0")}}
    assert list(exported_files(["vlmevalkit"], about, [])) == [names]


@pytest.mark.parametrize("about", [{}, ABOUT | {"data": None}, ABOUT | {"prompt_template": 3}])
def test_what_is_no_evaluation_of_ours_is_one_message(about):
    with pytest.raises(ValueError, match="the answers cannot be exported"):
        exported_files(["lmms-eval"], about, answered())
    with pytest.raises(ValueError, match="the answers cannot be exported"):
        exported_files(["lmms-eval"], ABOUT, [replace(answered()[0], form="sung")])


def test_nothing_is_read_where_no_evaluator_is_named_and_no_unknown_one_is_passed_over():
    assert exported_files([], {}, []) == {}
    with pytest.raises(ValueError, match="unknown evaluator 'helm': use one of medevalkit"):
        exported_files(["medevalkit", "helm"], ABOUT, answered())


def test_an_unknown_evaluator_is_told_which_there_are():
    for config, given in (
        (ScoreConfig, {"export": ("helm",)}),
        (ExportConfig, {"evaluations": ("x",), "to": ("helm",)}),
    ):
        words = "unknown evaluator 'helm': use one of medevalkit, vlmevalkit, lmms-eval"
        with pytest.raises(ValueError, match=words):
            config(**given)


# --- the command on finished evaluations --------------------------------------------------------


def finished(folder):
    """Write an evaluation of the mixed rows, with a control and another order beside them."""
    plain = answered(EXACT)
    blank = [replace(item, control="blank", choice=None) for item in plain]
    turned = [replace(item, permutation=(1, 0)) for item in plain[:2]]
    summary = {**summarize(plain), "evaluation": ABOUT}
    write_evaluation(folder, summary, [*plain, *blank, *turned])
    return plain


def test_a_finished_evaluation_is_exported_without_a_model(tmp_path, capsys):
    for name in ("one", "two"):
        plain = finished(tmp_path / name)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.json*")}
    places = [str(tmp_path / name) for name in ("one", "two")]
    assert evaluate.main(["export", *places, "--to", *EVALUATORS]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"written: {Path(place) / name}" for place in places for name in NAMES.values()]
    for place in places:
        for name, file in NAMES.items():
            found = READERS[name](Path(place) / file)
            assert [right for right, _ in found] == [item.correct for item in plain]
    assert all(file.read_bytes() == content for file, content in before.items())
    # once more, and nothing changes: an export is replaced whole
    written_first = (tmp_path / "one" / "results.json").read_bytes()
    assert evaluate.main(["export", places[0], "--to", "medevalkit"]) == 0
    assert (tmp_path / "one" / "results.json").read_bytes() == written_first


def test_nothing_is_written_where_one_of_the_evaluations_is_none(tmp_path, capsys):
    finished(tmp_path / "one")
    (tmp_path / "two").mkdir()
    places = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert evaluate.main(["export", *places, "--to", "medevalkit"]) == 2
    assert f"{tmp_path / 'two'} holds no finished evaluation" in capsys.readouterr().err
    assert not (tmp_path / "one" / "results.json").exists()


def test_of_a_finished_evaluation_the_flag_names_the_command(tmp_path, capsys):
    finished(tmp_path / "one")
    flags = ["--export", "vlmevalkit", "lmms-eval", "--output-dir", str(tmp_path / "one")]
    assert evaluate.main(flags) == 2
    said = capsys.readouterr().err
    assert f"export {tmp_path / 'one'} --to vlmevalkit lmms-eval" in said


def test_every_form_of_answer_is_among_the_rows():
    assert {item.form for item in answered(ANSWERS)} == {"letter", "yes_no", "text", "number"}
