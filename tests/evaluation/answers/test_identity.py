"""Two evaluations are the same when every fact that decides their answers is, and only then."""

import json
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from evaluation.answers.identity import (
    CellIdentity,
    CurationIdentity,
    Identity,
    ScoreIdentity,
    first_difference,
)

COMMON = {
    "mode": "think",
    "image_size": 84,
    "max_completion_tokens": 40,
    "limit": 8,
    "seed": 0,
    "only": ("split=test", "q_lang=en"),
    "skipped_rows": 1,
    "controls": ("blank",),
    "prompt_template": "{question} {options}",
    "checksums": {"MRI_test.json": "b2", "CT_test.json": "a1"},
    "model_checksum": "c3",
}
OTHER = {
    "mode": "no_think",
    "image_size": 0,
    "max_completion_tokens": 41,
    "limit": None,
    "seed": 1,
    "only": (),
    "skipped_rows": 0,
    "controls": (),
    "prompt_template": "{options} {question}",
    "checksums": {"CT_test.json": "a1"},
    "model_checksum": "d4",
}
OF_SCORE = {
    "left_out": {"a1": (3,)},
    "dtype": "float32",
    "image_root": None,
    "shuffle_within": None,
    "permute_options": 2,
}
EVALUATION = {  # as summary.json holds it
    "model": "tiny",
    "model_checksum": "c3",
    "device": "cpu",
    "mode": "think",
    "image_size": 84,
    "prompt_template": "{question} {options}",
    "max_completion_tokens": 40,
    "origins": {"mode": "flag"},
    "data": {
        "checksums": {"elsewhere/MRI.json": "b2", "CT_test.json": "a1"},
        "skipped_rows": 1,
        "limit": 8,
        "seed": 0,
        "only": ["q_lang=en", "split=test"],
    },
    "controls": ["blank"],
}


def test_the_file_of_an_evaluation_at_work_keeps_the_words_that_older_versions_wrote():
    assert ScoreIdentity(**COMMON, **OF_SCORE).to_json() == {
        "mode": "think",
        "image_size": 84,
        "max_completion_tokens": 40,
        "--limit": 8,
        "--seed": 0,
        "--only": ["q_lang=en", "split=test"],
        "number of skipped rows": 1,
        "list of controls": ["blank"],
        "prompt template": "{question} {options}",
        "checksum of the test file": ["a1", "b2"],
        "checksum of the model": "c3",
        "list of rows left out": {"a1": [3]},
        "--dtype": "float32",
        "--image-root": None,
        "--shuffle-within": None,
        "--permute-options": 2,
    }
    cell = CellIdentity(**COMMON, with_letters=False).to_json()
    assert cell.keys() - Identity(**COMMON).to_json().keys() == {"letter probabilities"}


def test_a_curation_calls_its_files_the_data():
    own = {name: OF_SCORE[name] for name in ("left_out", "dtype", "image_root")}
    stored = CurationIdentity(**COMMON, **own, samples=8).to_json()
    assert stored["checksum of the data"] == ["a1", "b2"] and stored["--samples"] == 8
    assert "checksum of the test file" not in stored


def test_what_a_file_gives_back_is_no_difference():
    identity = ScoreIdentity(**COMMON, **OF_SCORE)
    stored = json.loads(json.dumps(identity.to_json()))
    assert identity.difference(stored) is None
    moved = replace(identity, checksums={"else/a.json": "a1", "else/b.json": "b2"})
    assert moved.difference(stored) is None  # the contents are the same


@pytest.mark.parametrize("name", COMMON)
def test_each_fact_alone_tells_two_evaluations_apart(name):
    assert OTHER.keys() == COMMON.keys() == {item.name for item in fields(Identity)}
    identity = Identity(**COMMON)
    other = replace(identity, **{name: OTHER[name]})
    found = other.difference(identity.to_json())
    assert (found.there, found.now) == tuple(one.to_json()[found.name] for one in (identity, other))
    assert other.difference_from_finished(EVALUATION) == found


def test_a_finished_evaluation_is_known_by_its_summary():
    assert Identity(**COMMON).difference_from_finished(EVALUATION) is None
    # how letters were asked is not noted there, and says nothing of the numbers
    assert CellIdentity(**COMMON, with_letters=True).difference_from_finished(EVALUATION) is None


@pytest.mark.parametrize("damaged", [{}, {"data": None}, {"data": {"checksums": None}}])
def test_a_summary_without_the_facts_is_another_evaluation(damaged):
    assert Identity(**COMMON).difference_from_finished(damaged).name == "mode"


def test_controls_that_an_older_version_did_not_note_were_none():
    older = {name: value for name, value in EVALUATION.items() if name != "controls"}
    assert Identity(**COMMON | {"controls": ()}).difference_from_finished(older) is None


def test_an_older_version_read_every_row():
    data = {name: value for name, value in EVALUATION["data"].items() if name != "only"}
    every = Identity(**COMMON | {"only": ()})
    assert every.difference_from_finished(EVALUATION | {"data": data}) is None
    older = {name: value for name, value in every.to_json().items() if name != "--only"}
    assert every.difference(older) is None


def test_a_fact_that_is_not_known_now_is_a_difference_too():
    found = first_difference({"mode": "think", "--beam": 4}, {"mode": "think"})
    assert str(found) == "another --beam (4 there, None now)"


def test_a_long_value_is_cut_short_in_the_message():
    text = str(first_difference({"prompt template": "x" * 90}, {"prompt template": "y" * 90}))
    assert text == f"another prompt template ('{'x' * 49} .. there, '{'y' * 49} .. now)"


def test_facts_are_read_off_the_records_that_have_them():
    asking = SimpleNamespace(**{name: COMMON[name] for name in list(COMMON)[:3]}, dtype="float64")
    data = SimpleNamespace(**{name: COMMON[name] for name in list(COMMON)[3:]})
    # a fact of one kind alone is never read off: it would stand in files that had none
    assert Identity.of(asking, data) == Identity(**COMMON)
    with pytest.raises(TypeError, match="dtype"):
        ScoreIdentity.of(asking, data, **{k: v for k, v in OF_SCORE.items() if k != "dtype"})
