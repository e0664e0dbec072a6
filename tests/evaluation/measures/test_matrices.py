"""The maths of a matrix: means worked by hand, differences against slow versions and laws."""

import numpy as np
import pytest

from evaluation.measures.matrices import (
    AnsweredRow,
    means,
    means_by_model,
    paired_interval,
    part_differences,
    part_of,
    spread,
)


def cell(accuracy, n, chance=0.25):
    return {"accuracy": accuracy, "n": n, "chance": chance}


CELLS = {
    ("CT", "CT"): cell(0.9, 10),
    ("CT", "MRI"): cell(0.4, 30, 0.5),
    ("MRI", "CT"): cell(0.5, 10),
    ("MRI", "MRI"): cell(0.8, 30, 0.5),
}


def test_means_by_hand():
    found = means(CELLS)
    # diagonal: (0.9 + 0.8) / 2; (9 + 24) right of 40. Off it: (0.4 + 0.5) / 2; (12 + 5) of 40.
    assert found["diagonal"]["macro"] == pytest.approx(0.85)
    assert found["diagonal"]["row_weighted"] == pytest.approx(33 / 40)
    assert found["off_diagonal"]["macro"] == pytest.approx(0.45)
    assert found["off_diagonal"]["row_weighted"] == pytest.approx(17 / 40)
    assert found["all"]["macro"] == pytest.approx(0.65)
    assert found["off_diagonal"]["chance_macro"] == pytest.approx(0.375)
    assert (found["diagonal"]["n"], found["diagonal"]["cells"]) == (40, 2)


def test_a_model_of_no_slice_counts_in_neither_mean():
    base = {("base", "CT"): cell(0.0, 10), ("base", "MRI"): cell(0.0, 30)}
    with_base, without = means(CELLS | base), means(CELLS)
    assert with_base["diagonal"] == without["diagonal"]
    assert with_base["off_diagonal"] == without["off_diagonal"]
    assert with_base["all"]["cells"] == 6
    assert part_of("base", "CT", ["CT", "MRI"]) is None
    alone = means(base)
    assert alone["diagonal"] is alone["off_diagonal"] is None


def test_a_models_own_slice_and_the_others():
    table = means_by_model(CELLS)
    assert table["CT"]["own"] == 0.9
    assert table["CT"]["others"]["macro"] == 0.4
    base = {("base", "CT"): cell(0.2, 10), ("base", "MRI"): cell(0.4, 30)}
    assert means_by_model(base)["base"]["own"] is None
    assert means_by_model(base)["base"]["others"]["row_weighted"] == pytest.approx(14 / 40)


SLICES = [("a",), ("a", "b"), ("b", "c"), ("d",)]


def rows(right, images=None):
    images = images or [f"{number}.png" for number in range(len(right))]
    return [
        AnsweredRow(str(i), (image,), bool(one))
        for i, (one, image) in enumerate(zip(right, images, strict=True))
    ]


def test_differences_by_hand():
    first = {("CT", "CT"): rows([1, 1, 0, 1]), ("CT", "MRI"): rows([1, 0])}
    second = {("CT", "CT"): rows([1, 0, 0, 0]), ("CT", "MRI"): rows([0, 1])}
    first |= {("MRI", "CT"): rows([1, 1, 1, 1])}
    second |= {("MRI", "CT"): rows([1, 1, 1, 0])}
    found = part_differences(first, second)
    assert found["diagonal"]["macro"]["difference"] == 0.5
    # off the diagonal: CT on MRI 1/2 - 1/2, MRI on CT 4/4 - 3/4; by row 5/6 - 4/6
    assert found["off_diagonal"]["macro"]["difference"] == pytest.approx(0.125)
    assert found["off_diagonal"]["row_weighted"]["difference"] == pytest.approx(1 / 6)
    assert (found["off_diagonal"]["cells"], found["off_diagonal"]["n"]) == (2, 6)
    # four names of images in all: the row of test MRI with image 0.png is that image, too
    assert found["off_diagonal"]["images"] == 4
    for part in found.values():
        for name in ("macro", "row_weighted"):
            assert part[name]["low"] <= part[name]["difference"] <= part[name]["high"]


def test_rows_of_several_images_hang_together_by_any_of_them():
    sides = [
        [AnsweredRow(str(i), images, bool(one)) for i, images in enumerate(SLICES)]
        for one in (1, 0)
    ]
    found = part_differences(*({("CT", "CT"): side} for side in sides))
    assert found["diagonal"]["images"] == 2


def test_swapping_the_methods_swaps_the_sign():
    generator = np.random.default_rng(3)
    one, two = (generator.integers(0, 2, 40).tolist() for _ in range(2))
    cells = [{("CT", "CT"): rows(side)} for side in (one, two)]
    forth, back = part_differences(*cells)["diagonal"], part_differences(*cells[::-1])["diagonal"]
    assert forth["macro"]["difference"] == -back["macro"]["difference"]
    assert forth["macro"]["low"] == pytest.approx(-back["macro"]["high"])


def test_three_images_without_a_difference_do_not_show_that_there_is_none():
    same = {("CT", "CT"): rows([1, 0, 1]), ("MRI", "CT"): rows([0, 0, 1])}
    macro = part_differences(same, same)["diagonal"]["macro"]
    unseen = 1 - 0.025 ** (1 / 3)
    assert macro == {
        "difference": 0,
        "low": pytest.approx(-unseen),
        "high": pytest.approx(unseen),
    }


def test_rows_of_one_image_are_no_news():
    # ten copies of every row leave the interval as it is where the copies share the image
    deltas = [1.0, 0.0, -1.0, 1.0, 1.0, 0.0]
    alone = paired_interval(deltas, list("abcdef"), [0] * 6)
    shared = paired_interval(deltas * 10, list("abcdef") * 10, [0] * 60)
    apart = paired_interval(deltas * 10, [str(i) for i in range(60)], [0] * 60)
    assert shared["low"] == pytest.approx(alone["low"])
    assert shared["high"] == pytest.approx(alone["high"])
    assert apart["high"] - apart["low"] < 0.5 * (alone["high"] - alone["low"])


def test_the_answers_of_several_checkpoints_to_one_row_are_no_news_either():
    one, none = rows([1, 0, 1, 1, 0, 1]), rows([0] * 6)
    single = {("CT", "MRI"): one, ("MRI", "CT"): one}, {("CT", "MRI"): none, ("MRI", "CT"): none}
    found = part_differences(*single)["off_diagonal"]["macro"]
    alone = paired_interval([1, 0, 1, 1, 0, 1], [r.images[0] for r in one], [0] * 6)
    assert found["low"] == pytest.approx(alone["low"])


def test_matrices_of_other_cells_or_rows_are_refused():
    left, right = {("CT", "CT"): rows([1])}, {("CT", "MRI"): rows([1])}
    with pytest.raises(ValueError, match="CT on CT is in one of them only"):
        part_differences(left, right)
    with pytest.raises(ValueError, match="CT on CT was not asked the same questions"):
        part_differences(left, {("CT", "CT"): rows([1, 0])})


def test_one_seed_has_no_standard_deviation():
    assert spread([0.5]) == {"mean": 0.5, "std": None, "min": 0.5, "max": 0.5, "seeds": 1}


def test_too_few_images_give_no_interval_instead_of_a_false_one():
    # one image; and eight strata of one row each
    assert paired_interval([1, 0], ["a", "a"], [0, 0])["low"] is None
    found = paired_interval([1] * 7 + [0], list("abcdefgh"), list(range(8)))
    assert (found["difference"], found["low"], found["high"]) == (7 / 8, None, None)
