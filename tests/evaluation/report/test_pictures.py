"""Which images a report shows: those below one folder, decoded, small, encoded anew."""

import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from data.held_images import held_image
from evaluation.report.__main__ import main
from evaluation.report.left_out import LeftOut
from evaluation.report.pictures import PIXELS, ReportImages, thumbnail
from evaluation.report.write import write_report
from tests.evaluation.report.test_report import checked, rollout_row, write_lines


@pytest.fixture
def root(tmp_path):
    """A folder of images, and an image beside it that is nobody's business."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20), "red").save(tmp_path / "images" / "a.png")
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "secret.png")
    return tmp_path / "images"


def shown(name, named, given=None):
    """Return how many images are shown for a name, and what is left out."""
    left_out = LeftOut()
    parts = ReportImages(named, given, left_out).parts([name])
    return sum("<img" in part for part in parts), " ".join(left_out.sentences)


def test_a_thumbnail_is_small_whatever_the_image(tmp_path):
    Image.effect_noise((1500, 900), 90).save(tmp_path / "large.png")
    data = thumbnail(tmp_path / "large.png")
    assert data.startswith(b"\xff\xd8") and len(data) < 100_000
    assert Image.open(BytesIO(data)).size == (PIXELS, 192)
    assert shown("phantoms/heldout/Dermoscopy-00023.png", None) == (1, "")


def test_an_image_that_stands_in_a_row_is_shown_while_the_row_is_held(root):
    picture = held_image((root / "a.png").read_bytes())
    name = str(picture)
    assert shown(name, str(root)) == shown(name, None) == (1, "")
    del picture
    count, why = shown(name, str(root))
    assert count == 0 and "stands in a row of a data file" in why and "data.convert" in why
    assert "--image-root" not in why


def test_no_byte_of_a_file_is_copied(tmp_path):
    word = b"what the file holds beside its picture"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=word)
    assert word in (tmp_path / "a.jpg").read_bytes()
    assert word not in thumbnail(tmp_path / "a.jpg")


def test_images_lie_below_the_folder_that_is_named(root):
    assert shown(f"{root}/a.png", str(root)) == (1, "")
    for name in (f"{root}/../secret.png", f"{root.parent}/secret.png", "/etc/passwd", "~/x.png"):
        count, why = shown(name, str(root))
        assert count == 0 and "image root" in why, name
    count, why = shown(f"{root}/a\0.png", str(root))
    assert count == 0 and "NUL" in why


def test_a_folder_that_was_moved_is_named_by_the_user(root):
    assert shown("/long/gone/a.png", "/long/gone")[0] == 0
    assert shown("/long/gone/a.png", "/long/gone", root) == (1, "")
    assert shown("a.png", None, root) == (1, "")


def test_without_a_folder_that_is_known_no_file_is_opened(root):
    count, why = shown(f"{root}/a.png", None)
    assert count == 0 and "a folder that is not known: name it with --image-root" in why


@pytest.mark.parametrize("named", ["/", "//", "/x/..", "/./"])
def test_all_of_the_disk_is_no_image_root(root, named):
    count, why = shown(f"{root.parent}/secret.png", named)
    assert count == 0 and "all of the disk" in why
    assert shown(f"{root.parent}/secret.png", named, Path("/"))[0] == 1  # the user says so


def test_a_link_out_is_followed_only_where_the_user_named_the_folder(root):
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "up").symlink_to(root.parent)
    for name in ("link.png", "up/secret.png"):
        count, why = shown(f"{root}/{name}", str(root))
        assert count == 0 and "a link that leads out of" in why
        assert shown(f"{root}/{name}", str(root), root) == (1, "")


def test_what_is_no_image_is_named(root):
    os.mkfifo(root / "pipe.png")
    (root / "text.png").write_text("root:x:0:0")
    (root / "loop.png").symlink_to("loop.png")
    for name in ("pipe.png", "text.png", "loop.png", "gone.png", "."):
        count, why = shown(f"{root}/{name}", str(root))
        assert count == 0 and why, name


def test_the_page_says_which_folder_was_read(root, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    config = {"model": "tiny", "image_root": str(root)}
    (run / "run.json").write_text(json.dumps({"config": config, "prompt_template": ""}))
    rows = [rollout_row(1, 0, 0, images=[f"{root}/a.png", f"{tmp_path}/secret.png"])]
    write_lines(run / "rollouts.jsonl", rows)
    report = write_report(run)
    page = checked(report)
    note = f"Images are read under {root}, the image root that the directory itself names."
    assert note in page.text and len(page.images) == 1
    assert report.left_out[0].startswith("left out, images: 1; ")
    assert main([str(run), "--image-root", str(tmp_path)]) == 0
    page = checked(write_report(run, tmp_path))
    assert f"under {tmp_path}, the image root that was named" in page.text
