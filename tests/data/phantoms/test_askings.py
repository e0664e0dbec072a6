"""Phantoms asked about in words: the image tells the answer, and nothing else does."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from data.examples import MODALITIES, QUESTION_TYPES
from data.named import ASKED_PHANTOMS, phantom_parts
from data.phantoms import phantom_examples
from data.phantoms.askings import ASKINGS
from data.phantoms.wordings import NAMED, candidates, right_text
from data.sources import load_split

ROWS = {asked: phantom_examples("heldout", asked=asked) for asked in ASKINGS}


def test_an_open_question_is_the_lettered_one_without_its_options():
    for lettered, row in zip(ROWS["letter"], ROWS["open"], strict=True):
        assert (row.question, row.images) == (lettered.question, lettered.images)
        assert (row.form, row.options, row.answer) == ("text", (), lettered.answer_text)


def test_yes_is_right_where_the_question_names_what_the_image_was_drawn_from():
    for row in ROWS["yes_no"]:
        facts = row.images[0].attributes
        named = [
            text
            for text in candidates(row.question_type, facts)
            if row.question in [wording.format(text) for wording in NAMED[row.question_type]]
        ]
        assert len(named) == 1
        assert row.answer_text == (
            "Yes" if named[0] == right_text(row.question_type, facts) else "No"
        )


def test_the_count_is_the_number_of_lesions_that_are_drawn():
    changed = defaultdict(list)
    for row in ROWS["count"]:
        image = row.images[0]
        assert row.answer == str(image.count)
        several = np.asarray(image()).astype(int)
        one = np.asarray(type(image)(image.part, image.number, image.attributes, 1)()).astype(int)
        changed[image.count].append((np.abs(several - one).max(axis=2) > 60).sum())
    assert max(changed[1]) == 0 and min(changed[2]) > 30
    assert np.mean(changed[2]) < np.mean(changed[3]) < np.mean(changed[4])


@pytest.mark.parametrize("asked", ASKED_PHANTOMS)
def test_every_answer_is_right_equally_often_in_every_cell(asked):
    cells = Counter((row.modality, row.question_type) for row in ROWS[asked])
    kinds = QUESTION_TYPES if asked != "count" else ("Other Biological Attributes",)
    assert cells == {(modality, kind): 20 for modality in MODALITIES for kind in kinds}
    if asked != "open":
        counts = Counter(row.answer for row in ROWS[asked])
        assert len(set(counts.values())) == 1


@pytest.mark.parametrize("asked", ASKED_PHANTOMS)
def test_the_majority_answer_of_a_question_says_nothing_of_the_held_out_rows(asked):
    counts = defaultdict(Counter)
    for row in phantom_examples("train", asked=asked):
        counts[row.question][row.answer] += 1
    rows = phantom_examples("heldout", asked=asked, rows_per_cell=60)
    hits = [counts[row.question].most_common(1)[0][0] == row.answer for row in rows]
    chance = {"open": 0.25, "yes_no": 0.5, "count": 0.25}[asked]
    assert np.mean(hits) < chance + 4 * np.sqrt(chance * (1 - chance) / len(rows))


def test_parts_and_ways_of_asking_share_no_image_but_letters_and_their_open_form():
    names = {
        (part, asked): {row.image_names[0] for row in phantom_examples(part, asked=asked)}
        for part in ("train", "heldout")
        for asked in ("letter", "count")
    }
    assert sum(map(len, names.values())) == len(set().union(*names.values()))


@pytest.mark.parametrize("asked", ["open", "yes_no"])
def test_an_image_of_one_name_shows_the_same_however_it_is_asked_about(asked):
    assert [row.images for row in ROWS[asked]] == [row.images for row in ROWS["letter"]]


def test_names_stand_for_a_way_of_asking_and_a_slice():
    assert phantom_parts("phantoms: yes_no : Lesion Grading") == ("yes_no", "Lesion Grading")
    rows = load_split(["phantoms:open:CT", "phantoms:CT"], part="eval", image_root=None).examples
    assert Counter(row.form for row in rows) == {"text": 100, "letter": 100}
    assert len({row.id for row in rows}) == 200


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "phantoms:opened",
            "unknown slice 'opened' of the phantoms: .* in words: open, yes_no, count$",
        ),
        ("phantoms:open:PET", "unknown slice 'PET' of the phantoms"),
        ("phantoms:open:", "unknown slice '' of the phantoms"),
        ("phantoms:count:Lesion Grading", "asked about as count have no rows of Lesion Grading"),
    ],
)
def test_an_unknown_name_lists_what_there_is(name, message):
    with pytest.raises(ValueError, match=message):
        load_split([name], part="train", image_root=None)


def test_an_unknown_way_of_asking_lists_those_there_are():
    with pytest.raises(
        ValueError, match="'spoken' of the phantoms: use one of letter, open, yes_no"
    ):
        phantom_examples("train", asked="spoken")
