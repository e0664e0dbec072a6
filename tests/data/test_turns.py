"""The user's turn: the text and the decoded images that training and evaluation both encode."""

from dataclasses import replace

import pytest
from PIL import Image

from data.examples import VQAExample
from data.prompts import prompt_template
from data.turns import TurnBuilder


def example(*images) -> VQAExample:
    return VQAExample("CT-3", images, "Which {one}?", ("CT", "{options}"), "A")


def test_text_and_images_are_built_from_the_example():
    build = TurnBuilder("{options}\n\n{question}", 32)
    turn = build(example(lambda: Image.new("L", (9, 5)), lambda: Image.new("RGBA", (40, 7))))
    assert turn.text == "A) CT\nB) {options}\n\nWhich {one}?"
    assert [(image.mode, image.size) for image in turn.images] == [("RGB", (32, 32))] * 2


def test_an_example_may_show_nothing():
    assert TurnBuilder(prompt_template("think"), 0)(example()).images == []


def test_a_rows_own_system_turn_comes_with_it():
    build = TurnBuilder(prompt_template("think"), 0)
    assert build(example()).system == ""
    assert build(replace(example(), system="You read pictures.")).system == "You read pictures."


def test_images_are_decoded_anew_for_each_turn():
    drawn = []

    def draw() -> Image.Image:
        drawn.append(1)
        return Image.new("RGB", (8, 8))

    row = example(draw)
    build = TurnBuilder(prompt_template("no_think"), 0)
    assert drawn == []
    build(row), build(row)
    assert len(drawn) == 2


def test_a_broken_image_is_named_with_its_example(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"not an image")
    build = TurnBuilder(prompt_template("think"), 384)
    with pytest.raises(ValueError, match=r"example CT-3: image .*broken\.png cannot be decoded"):
        build(example(path))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="image size -1 is negative"):
        TurnBuilder(prompt_template("think"), -1)
    with pytest.raises(ValueError, match=r"prompt template of the run: \{options\} stands 0 times"):
        TurnBuilder("{question}", 0)
