"""Blurred and mirrored images: names, radii, and what is left of an image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.examples import VQAExample
from evaluation.answers.controls import control_named, control_rows
from evaluation.answers.redrawn import blur_radius, blurred, mirrored, single_names
from evaluation.asking.shared_flags import ScoringFlags
from evaluation.command_lines import matrix_parser, score_parser


def half_white():
    """Return an image that is white on the left and black on the right."""
    values = np.zeros((40, 80, 3), np.uint8)
    values[:, :40] = 255
    return Image.fromarray(values)


def test_a_blur_of_several_radii_is_one_control_for_each_in_the_order_given():
    names = single_names(["blank", "blur:16,4,0.50", "flip", "blur:64"])
    assert names == ("blank", "blur:16", "blur:4", "blur:0.5", "flip", "blur:64")
    assert [blur_radius(name) for name in names] == [None, 16.0, 4.0, 0.5, None, 64.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["blur"], "--controls blur: '' is no radius from 0.1 to 1,000 pixels"),
        (["blur:"], "'' is no radius"),
        (["blur:0"], "'0' is no radius"),
        (["blur:-4"], "'-4' is no radius"),
        (["blur:4,", "16"], "'' is no radius .* no spaces, such as blur:4,16,64"),
        (["blur:four"], "'four' is no radius"),
        (["blur:nan"], "'nan' is no radius"),
        (["blur:1e3"], "'1e3' is no radius"),
        (["blur:1001"], "'1001' is no radius"),
        (["blur:\u0664"], "is no radius"),  # an Arabic four
        (["blur:4,4.0"], "has the radius of blur:4 twice"),
        (["blur:4", "blur:16,4"], "has the radius of blur:4 twice"),
    ],
)
def test_a_radius_that_is_none_or_stands_twice_is_named(given, words):
    with pytest.raises(ValueError, match=words):
        ScoringFlags(controls=tuple(given))


def test_the_flag_of_both_commands_takes_them():
    given = ["--controls", "blur:4,16", "flip"]
    assert score_parser().parse_args(given).controls == ["blur:4,16", "flip"]
    more = ["--models", "a=b", "--json", "c", "--output-dir", "d", *given]
    assert matrix_parser().parse_args(more).controls == ["blur:4,16", "flip"]
    flags = ScoringFlags(controls=("blur:4,16", "flip"))
    assert flags.single_controls == ("blur:4", "blur:16", "flip")


def test_an_unknown_name_is_told_what_there_is():
    words = "unknown control 'blurs:4': use one of blank, .*, flip, blur:4,16,64"
    with pytest.raises(ValueError, match=words):
        ScoringFlags(controls=("blurs:4",))


def test_rows_keep_their_own_images_and_those_without_one_are_left_out():
    rows = [
        VQAExample(f"row-{i}", images, "Which?", ("lung", "liver"), "A")
        for i, images in enumerate([(Path("a.png"),), (), (Path("b.png"), Path("c.png"))])
    ]
    for name in ("flip", "blur:4"):
        found = control_rows(name, rows, rows, seed=0)
        assert found.examples == [rows[0], rows[2]]
        assert found.impossible == {"the row has no image": 1}
    with pytest.raises(ValueError, match="control blur:4 is impossible for every row"):
        control_rows("blur:4", rows[1:2], rows, seed=0)


def test_mirrored_is_left_for_right_and_twice_it_is_the_image_again():
    image = half_white()
    image.putpixel((3, 5), (255, 0, 0))
    assert mirrored(image).getpixel((76, 5)) == (255, 0, 0)
    assert mirrored(mirrored(image)).tobytes() == image.tobytes()


def test_a_larger_radius_leaves_less_and_the_mean_stays():
    image = half_white()
    spreads = [np.asarray(blurred(image, radius)).std() for radius in (0.5, 2, 8, 32)]
    assert spreads == sorted(spreads, reverse=True)
    assert len(set(spreads)) == 4
    assert abs(np.asarray(blurred(image, 8)).mean() - 127.5) < 2
    # half of the step's height within one radius of it, as a Gaussian of that deviation has it
    row = np.asarray(blurred(image, 8))[20, :, 0] / 255
    assert abs(row[40 - 8] - 0.84) < 0.03
    assert abs(row[40 + 8 - 1] - 0.16) < 0.03


def test_each_control_does_what_its_name_says():
    image = half_white()
    flip, blur = control_named("flip"), control_named("blur:8")
    assert flip.redraw is not None
    assert flip.redraw(image).tobytes() == mirrored(image).tobytes()
    assert blur.redraw is not None
    assert blur.redraw(image).tobytes() == blurred(image, 8.0).tobytes()
    assert (flip.has_gain, blur.has_gain) == (False, True)
    assert control_named("blank").redraw is None
