"""An evaluation broken off at any moment and started again ends like one that never stopped."""

import json
import resource
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import process.bars
from data.examples import VQAExample
from evaluation.answers.identity import Identity
from evaluation.answers.prediction import Prediction, judge
from evaluation.answers.unfinished import unfinished_folder
from evaluation.asking.evaluation_plan import plan_passes, summarize_passes
from evaluation.asking.resumable import ResumableEvaluation

TEMPLATE = "{question}\n{options}"
IDENTITY = Identity(
    mode="no_think",
    image_size=84,
    max_completion_tokens=40,
    limit=None,
    seed=0,
    only=(),
    skipped_rows=0,
    controls=("blank", "no_image"),
    prompt_template=TEMPLATE,
    checksums={"test.json": "cd34"},
    model_checksum="ab12",
)
BATCH = 3
QUESTIONS = 7 * (1 + 2 + 1)  # rows: plain, two controls, one other order


def rows(count=7):
    # lengths differ, so that the order of asking is not the rows'
    return [
        VQAExample(
            f"row-{i}",
            (Path(f"{i}.png"),),
            "Which?" + " Look closely." * (i * 5 % 4),
            ("x", f"y\u2028{i}", "z"),
            "ABC"[i % 3],
            modality="CT",
        )
        for i in range(count)
    ]


class Answers:
    """Stands for an `Answerer`: answers depend on the whole batch, as by rounding on a GPU."""

    def __init__(self, stop_after=None, stop=KeyboardInterrupt):
        self.batches, self.stop_after, self.stop = [], stop_after, stop

    def __call__(self, examples, *, control, orders):
        if len(self.batches) == self.stop_after:
            raise self.stop
        self.batches.append([example.id for example in examples])
        weight = sum(int(example.id[-1]) for example in examples) + len(control or "")
        return [
            judge(
                example,
                f"<answer>{'ABC'[(weight + place) % 3]}</answer>",
                mode="no_think",
                completion_tokens=weight,
                truncated=False,
                letter_probabilities={"A": 1 / (weight + 3), "B": 0.3, "C": 0.7 - 1 / (weight + 3)},
                permutation=None if orders is None else orders[place],
                control=control,
            )
            for place, example in enumerate(examples)
        ]


def evaluation(output, examples=None, identity=IDENTITY):
    examples = examples or rows()
    plan = plan_passes(
        examples, examples, controls=["blank", "no_image"], permute_options=2, seed=0
    )
    return ResumableEvaluation(plan, output, identity, template=TEMPLATE)


def finish(output, answers=None):
    job = evaluation(output)
    job.run(answers or Answers(), BATCH, progress=False)
    job.write(summarize_passes(job.plan, job.predictions()))
    return {file.name: file.read_bytes() for file in output.iterdir()}


def break_off(output, batches):
    with pytest.raises(KeyboardInterrupt):
        evaluation(output).run(Answers(stop_after=batches), BATCH, progress=False)
    return unfinished_folder(output) / "predictions.jsonl"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The two files of an evaluation that was not interrupted."""
    return finish(tmp_path_factory.mktemp("whole") / "out")


# three batches a pass: 3 is between two passes, 1 and 4 in the middle of one, 11 before the last
@pytest.mark.parametrize("batches", [1, 3, 4, 6, 11])
def test_broken_off_after_a_batch_it_ends_as_if_it_had_not_been(tmp_path, whole, batches):
    output = tmp_path / "out"
    break_off(output, batches)
    answers = Answers()
    assert finish(output, answers) == whole
    assert len(answers.batches) == 12 - batches  # nothing is asked twice
    assert list(tmp_path.iterdir()) == [output]  # and the unfinished answers are gone


def test_the_last_line_may_be_cut_anywhere(tmp_path, whole):
    for cut in (1, 2, 40):  # without its newline, without its bracket, in the middle
        output = tmp_path / f"out-{cut}"
        file = break_off(output, 2)
        file.write_bytes(file.read_bytes()[:-cut])
        answers = Answers()
        assert finish(output, answers) == whole
        assert len(answers.batches) == 11  # the batch with the cut line once more, as a whole


def test_answers_behind_a_damaged_line_are_asked_again_and_that_is_said(tmp_path, whole, capsys):
    output = tmp_path / "out"
    file = break_off(output, 3)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[4] = b"\0" * (len(lines[4]) - 1) + b"\n"
    file.write_bytes(b"".join(lines))
    answers = Answers()
    assert finish(output, answers) == whole
    assert len(answers.batches) == 11  # from the batch of the fifth answer on
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"{file}, line 5, is damaged: what stands from there on is asked again" in said


def test_it_may_be_broken_off_again_and_again(tmp_path, whole):
    output = tmp_path / "out"
    for _ in range(11):
        file = break_off(output, 1)
        with file.open("ab") as stream:
            stream.write(b'{"id": "row')  # killed while it wrote the next
    assert finish(output) == whole


def test_a_folder_begun_and_left_without_settings_is_begun_anew(tmp_path, whole):
    output = tmp_path / "out"
    unfinished_folder(output).mkdir()
    (unfinished_folder(output) / ".evaluation.json.tmp").write_text("{")
    assert finish(output) == whole


def test_another_batch_size_goes_on_with_the_answers_that_are_there(tmp_path):
    break_off(tmp_path / "out", 2)
    job, answers = evaluation(tmp_path / "out"), Answers()
    assert job.num_answered == 6
    job.run(answers, 2, progress=False)
    assert [item.id for item in job.predictions()] == [row.id for row in rows()] * 4
    assert sum(map(len, answers.batches)) == QUESTIONS - 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mode": "think"}, "another mode ('no_think' there, 'think' now)"),
        ({"limit": 3}, "another --limit (None there, 3 now)"),
        ({"model_checksum": "ef56"}, "another checksum of the model ('ab12' there, 'ef56' now)"),
    ],
)
def test_other_settings_do_not_go_on(tmp_path, changed, message):
    file = break_off(tmp_path / "out", 2)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="was begun with another") as caught:
        evaluation(tmp_path / "out", identity=replace(IDENTITY, **changed))
    assert message in str(caught.value)
    assert "remove" in str(caught.value) and "to begin anew" in str(caught.value)
    assert file.read_bytes() == before


def test_answers_to_other_questions_are_refused(tmp_path):
    break_off(tmp_path / "out", 2)
    for others in (
        [replace(row, id=f"other-{row.id}") for row in rows()],
        [replace(row, images=(Path(f"other/{row.id}.png"),)) for row in rows()],
    ):
        with pytest.raises(ValueError, match=r"line 1, answers another question than .*\(row-"):
            evaluation(tmp_path / "out", others)


def test_a_foreign_folder_is_refused(tmp_path):
    unfinished_folder(tmp_path / "out").mkdir()
    (unfinished_folder(tmp_path / "out") / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no evaluation to go on: remove"):
        evaluation(tmp_path / "out")


def test_two_processes_do_not_write_to_one_evaluation(tmp_path):
    first, second = evaluation(tmp_path / "out"), evaluation(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        first.run(Answers(stop_after=2), BATCH, progress=False)
    with pytest.raises(ValueError, match="another process writes to"):
        second.run(Answers(), BATCH, progress=False)
    assert evaluation(tmp_path / "out").num_answered == 6


@contextmanager
def no_file_longer_than(size):
    """A disk that fills up in the middle of a line, as far as a process can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_what_was_answered(tmp_path, whole, capsys):
    file, job = break_off(tmp_path / "out", 5), evaluation(tmp_path / "out")
    with no_file_longer_than(file.stat().st_size + 700), pytest.raises(ValueError) as caught:
        job.run(Answers(), BATCH, progress=False)
    assert "answers cannot be written to" in str(caught.value)
    assert "the same command goes on when there is room" in str(caught.value)
    assert f"of 28 answers are kept in {tmp_path / 'out.unfinished'}" in capsys.readouterr().err
    assert not file.read_bytes().endswith(b"\n")
    assert finish(tmp_path / "out") == whole


def test_a_disk_that_is_full_in_the_end_keeps_all_answers(tmp_path, whole, capsys):
    job = evaluation(tmp_path / "out")
    job.run(Answers(), BATCH, progress=False)
    with no_file_longer_than(3000), pytest.raises(ValueError, match="could not be written"):
        job.write(summarize_passes(job.plan, job.predictions()))
    assert "28 of 28 answers are kept in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert finish(tmp_path / "out", Answers(stop_after=0)) == whole


def test_an_answer_comes_back_from_its_line_as_it_was():
    (item,) = Answers()(rows(1), control="blank", orders=[(2, 0, 1)])
    assert Prediction.from_json(json.loads(json.dumps(item.to_json()))) == item
    with pytest.raises(KeyError):
        Prediction.from_json({"id": "row-0"})


def test_the_bar_counts_all_passes_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(process.bars, "INTERVAL", 0.0)  # no terminal: a line for every change
    break_off(tmp_path / "out", 4)
    capsys.readouterr()
    evaluation(tmp_path / "out").run(Answers(), BATCH)
    err = capsys.readouterr().err
    assert ": 10 of 28, " in err.splitlines()[0]  # 7 plain answers and a batch of 3
    assert "order 2" in err
