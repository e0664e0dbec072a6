"""Controls on hand-made rows: whose image a row gets, and which rows can have none."""

from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluate import main
from evaluation.answers.controls import CONTROLS, Control, control_rows
from evaluation.answers.prediction import judge
from evaluation.configs import ScoreConfig
from evaluation.measures.clusters import image_clusters
from evaluation.measures.gains import paired_gain, summarize_control
from evaluation.measures.intervals import image_interval
from evaluation.measures.summary import slice_summary


def row(number, image, answer="lung", *, modality="CT", question_type="Anatomy", dataset="one"):
    return VQAExample(
        f"row-{number}",
        tuple(Path(name) for name in image.split()),
        "Which?",
        (answer, "something else"),
        "A",
        modality=modality,
        question_type=question_type,
        dataset=dataset,
    )


def shown(rows):
    """Return row id -> names of the images that are shown."""
    return {example.id: example.image_names for example in rows.examples}


def many(count=60):
    """Return rows of two modalities and three data sets, two rows to an image."""
    return [
        row(i, f"{i // 2}.png", "ab"[i % 2], modality=("CT", "MRI")[i // 2 % 2], dataset=f"{i % 3}")
        for i in range(count)
    ]


def test_shuffled_images_are_never_the_rows_own_and_of_its_modality():
    rows = many()
    modality_of = {example.image_names: example.modality for example in rows}
    for seed in range(5):
        result = control_rows("shuffled", rows, rows, seed=seed)
        assert [item.id for item in result.examples] == [item.id for item in rows]
        assert result.impossible == {}
        for own, other in zip(rows, result.examples, strict=True):
            assert other.image_names != own.image_names
            assert modality_of[other.image_names] == own.modality
            assert (other.question, other.options, other.answer) == (
                own.question,
                own.options,
                own.answer,
            )


def test_shuffled_images_spread_over_the_stratum_and_the_seed_moves_them():
    rows = [row(i, f"{i}.png") for i in range(40)]
    draws = [shown(control_rows("shuffled", rows, rows, seed=seed)) for seed in range(30)]
    assert draws[0] == shown(control_rows("shuffled", rows, rows, seed=0))
    assert draws[0] != draws[1]
    seen = {draw["row-0"] for draw in draws}
    assert len(seen) > 15  # of 39: a fixed neighbour would be one
    assert len(set(draws[0].values())) > 15  # one image for all rows would be one or two


def test_a_rows_shuffled_image_does_not_depend_on_the_other_rows_asked():
    rows = many()
    whole = shown(control_rows("shuffled", rows, rows, seed=0))
    part = shown(control_rows("shuffled", rows[10:20], rows, seed=0))
    assert part == {name: whole[name] for name in part}


def test_a_stratum_with_one_image_is_impossible_and_counted():
    rows = [row(0, "a"), row(1, "a"), row(2, "b", modality="MRI"), row(3, "c", modality="MRI")]
    result = control_rows("shuffled", rows, rows, seed=0)
    assert shown(result) == {"row-2": ("c",), "row-3": ("b",)}
    assert result.impossible == {"CT holds no other image": 2}


def test_rows_of_several_images_borrow_nothing_that_they_show_already():
    rows = [row(0, "a b"), row(1, "b c"), row(2, "d e"), row(3, "f")]
    assert shown(control_rows("shuffled", rows, rows, seed=0))["row-0"] == ("d", "e")


def test_shuffling_within_data_set_and_question_type_crosses_modalities():
    rows = [
        row(0, "a", modality="CT", dataset="one"),
        row(1, "b", modality="CT", dataset="two"),
        row(2, "c", modality="MRI", dataset="one"),
        row(3, "d", modality="CT", dataset="one", question_type="Disease"),
    ]
    result = control_rows("shuffled", rows, rows, seed=0, shuffle_within="dataset_question_type")
    assert shown(result) == {"row-0": ("c",), "row-2": ("a",)}
    assert result.impossible == {
        "two, Anatomy holds no other image": 1,
        "one, Disease holds no other image": 1,
    }


def test_swapped_images_have_another_answer_and_stay_in_the_modality_where_they_can():
    rows = [
        row(0, "a", "lung"),
        row(1, "b", "Lung."),  # the same answer in another spelling
        row(2, "c", "liver"),
        row(3, "d", "liver", modality="MRI"),
    ]
    for seed in range(10):
        images = shown(control_rows("swapped", rows, rows, seed=seed))
        assert images["row-0"] == images["row-1"] == ("c",)
        assert images["row-2"] in {("a",), ("b",)}
        # no other answer in MRI: the data set is next, whose other answer is lung
        assert images["row-3"] in {("a",), ("b",)}


def test_a_swapped_image_has_the_rows_answer_in_none_of_its_rows():
    # b is asked about twice: its first row says liver, its second lung
    rows = [row(0, "a", "lung"), row(1, "b", "liver"), row(2, "b", "lung"), row(3, "c", "bone")]
    for seed in range(10):
        assert shown(control_rows("swapped", rows, rows, seed=seed))["row-0"] == ("c",)


def test_a_swapped_image_is_never_of_another_question_type():
    # an image of the lung makes "CT" no less right
    rows = [
        row(0, "a", "CT", question_type="Modality"),
        row(1, "b", "lung"),
        row(2, "c", "MRI", question_type="Modality", modality="MRI", dataset="two"),
    ]
    result = control_rows("swapped", rows, rows, seed=0)
    assert shown(result) == {"row-0": ("c",), "row-2": ("a",)}
    assert result.impossible == {"Anatomy holds no image with another right answer": 1}


def test_blank_keeps_the_row_and_no_image_takes_its_images_away():
    rows = many(6)
    assert control_rows("blank", rows, rows, seed=0).examples == rows
    bare = control_rows("no_image", rows, rows, seed=0).examples
    assert [item.images for item in bare] == [()] * 6
    assert [item.id for item in bare] == [item.id for item in rows]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_row_without_an_image_has_no_control(name):
    rows = [row(i, f"{i}.png", "ab"[i % 2]) for i in range(6)]
    rows = [*rows, VQAExample("bare", (), "Which?", ("x", "y"), "A")]
    assert control_rows(name, rows, rows, seed=0).impossible == {"the row has no image": 1}


def test_what_cannot_be_controlled_says_why():
    rows = [row(0, "a"), row(1, "a")]
    with pytest.raises(ValueError, match=r"shuffled is impossible for every row \(CT holds no oth"):
        control_rows("shuffled", rows, rows, seed=0)
    with pytest.raises(ValueError, match="unknown control 'noise': use one of blank, shuffled"):
        control_rows("noise", rows, rows, seed=0)
    with pytest.raises(ValueError, match="unknown stratum 'dataset' to shuffle within: use one of"):
        control_rows("shuffled", rows, rows, seed=0, shuffle_within="dataset")


def predict(example, right, control=None):
    completion = f"<answer>{'A' if right else 'B'}</answer>"
    return judge(
        example, completion, mode="no_think", completion_tokens=3, truncated=False, control=control
    )


def test_the_gain_is_paired_and_of_the_rows_that_have_a_control():
    rows = [row(i, f"{i}.png", modality=("CT", "MRI")[i >= 3]) for i in range(5)]
    own = [predict(example, right) for example, right in zip(rows, [1, 1, 0, 1, 1], strict=True)]
    # row 0 is impossible, and the control comes in another order
    blind = [predict(rows[i], right, "swapped") for i, right in ((4, 1), (3, 0), (2, 1), (1, 0))]
    result = summarize_control(own, blind, {"why": 1})
    assert result["overall"]["accuracy"] == 2 / 4
    assert result["impossible"] == {"why": 1}
    gain = result["gain"]
    # of rows 1 to 4: 3 of 4 right against 2 of 4
    assert (gain["accuracy"], gain["control_accuracy"], gain["gain"]) == (0.75, 0.5, 0.25)
    assert (gain["n"], gain["images"]) == (4, 4)
    assert gain["low"] <= 0.25 <= gain["high"]
    assert gain["by_modality"]["CT"]["gain"] == 0.0  # row 1 gained, row 2 lost
    assert gain["by_modality"]["MRI"]["gain"] == 0.5


def test_the_gains_interval_resamples_the_rows_own_images():
    rows = [row(i, f"{i // 4}.png") for i in range(40)]
    own = [predict(example, i // 4 % 2 == 0) for i, example in enumerate(rows)]
    blind = [predict(example, False) for example in rows]
    shared = paired_gain(own, blind)
    assert shared["images"] == 10
    alone = paired_gain(
        [predict(row(i, f"{i}.png"), item.correct) for i, item in enumerate(own)], blind
    )
    width = [one["high"] - one["low"] for one in (shared, alone)]
    assert width[0] / width[1] == pytest.approx(2, rel=0.2)  # 10 images, not 40 rows: sqrt(4)
    with pytest.raises(ValueError, match="not about the same rows"):
        paired_gain(own, blind[1:])


def test_one_image_gives_no_interval():
    rows = [row(0, "a"), row(1, "a")]
    gain = paired_gain([predict(item, True) for item in rows], [predict(r, False) for r in rows])
    assert (gain["gain"], gain["low"], gain["high"]) == (1.0, None, None)
    assert image_interval([1, 0], [0, 0]) == (None, None)


def test_rows_that_share_images_are_one_cluster_through_other_rows_too():
    assert image_clusters([["a"], ["b"], ["c", "b"], ["c"], ["d"]]) == [0, 1, 1, 1, 4]
    # two clusters that a later row joins
    assert image_clusters([["a"], ["b"], ["b", "a"]]) == [0, 0, 0]


def test_an_entry_has_an_interval_by_image_only_where_rows_share_images():
    alone = slice_summary([predict(row(i, f"{i}"), i % 2) for i in range(8)])
    assert "images" not in alone
    shared = slice_summary([predict(row(i, f"{i // 4}"), i < 4) for i in range(8)])
    assert shared["images"] == 2  # one right, one wrong: that says next to nothing
    assert shared["image_low"] < 0.01 and shared["image_high"] > 0.99
    assert (shared["low"], shared["high"]) == (alone["low"], alone["high"])  # Wilson's stay


def test_a_new_control_is_one_entry(monkeypatch):
    def turned(_donors, _seed, _within):
        return lambda example: replace(example, images=example.images[::-1])

    new = Control("turned", shown="turned", help="its images in turned order", finder=turned)
    monkeypatch.setitem(CONTROLS, "turned", new)
    rows = [row(0, "a.png b.png"), row(1, "c.png")]
    asked = control_rows("turned", rows, rows, seed=0).examples
    assert [item.image_names for item in asked] == [("b.png", "a.png"), ("c.png",)]
    assert ScoreConfig(controls=("turned",)).controls == ("turned",)


def test_every_control_is_explained(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{name} ({control.help})" in text for name, control in CONTROLS.items())
