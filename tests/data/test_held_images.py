"""Images that stand in rows: on the disk until they are shown, one name per content, none left."""

import base64
import gc
import os
import tempfile
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import held_images
from data.examples import VQAExample
from data.image_files import examine_images
from data.images import load_image, open_images
from data.reading.image_paths import ImageRoot
from data.reading.row_images import image_source, image_values, is_base64, path_in
from data.verdict_cache import VerdictCache
from evaluation.asking.preflight import Preflight


def encoded(
    seed: int = 0, size: tuple[int, int] = (12, 8), format: str = "PNG", **options
) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path) -> ImageRoot:
    return ImageRoot(tmp_path)


def test_a_held_image_is_the_picture_that_its_file_would_be(tmp_path, root):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    content = encoded(format="JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(content)
    of_file = load_image(tmp_path / "a.jpg", 0)
    assert of_file.size == (8, 12)
    text = base64.b64encode(content).decode()
    for value in (
        content,
        text,
        text[:40] + "\n" + text[40:],
        f"data:image/jpeg;base64,{text}",
        {"bytes": content, "path": "/elsewhere/other/a.jpg"},
        {"bytes": text, "path": None},
        {"url": f"data:image/jpeg;base64,{text}"},
        {"image": text},
    ):
        found = load_image(image_source(value, root), 0)
        assert found.size == of_file.size and found.tobytes() == of_file.tobytes()
    example = VQAExample("a-0", (image_source(content, root),), "What?", ("x", "y"), "A")
    assert [image.size for image in open_images(example)] == [(8, 12)]
    assert [image.size for image in open_images(example, image_size=28)] == [(28, 28)]


@pytest.mark.parametrize(
    "value",
    [
        "ct/a.png",
        "ct\\a.png",
        {"path": "ct/a.png"},
        {"bytes": None, "path": "ct/a.png"},
        {"image_path": "ct/a.png"},
        {"type": "image", "image": "ct/a.png"},
        {"file_name": "ct/a.png"},
        {"url": "ct/a.png"},
        {"path": "", "image_path": "ct/a.png", "image": "b.png"},  # the first that says something
    ],
)
def test_a_path_is_found_in_each_of_its_forms(root, value):
    assert path_in(value) == "ct/a.png"
    assert image_source(value, root) == root.folder / "ct/a.png"


def test_base64_of_every_format_is_no_path_and_paths_are_no_base64():
    for format in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000"):
        assert is_base64(base64.b64encode(encoded(format=format)).decode()), format
    for path in ("9j/a.png", "UklGRa", "Qk" + "a" * 60, "R0lGOD" + "/a" * 60 + ".gif", "x" * 300):
        assert not is_base64(path)
    jpeg = "/9j/" + "A" * 60
    assert is_base64(jpeg) and is_base64(f"{jpeg}A==\n") and is_base64(f"{jpeg[:40]}\n{jpeg[40:]}")
    for path in (jpeg[:-1], f"{jpeg}.jpg", f"{jpeg}A==A", f"x{jpeg}"):
        assert not is_base64(path), path


def test_one_content_has_one_name_and_is_kept_once(root):
    gc.collect()
    one, other = image_source(encoded(1), root), image_source(encoded(2), root)
    again = image_source(base64.b64encode(encoded(1)).decode(), root)
    assert again is one and one != other and str(one).startswith("sha256-")
    assert VQAExample("a", (one,), "?", ("x", "y"), "A").image_names == (str(one),)
    assert one.read.store is other.read.store


def test_what_is_no_image_is_a_fault_with_words(root):
    for value, words in [
        (b"", "no bytes"),
        ({"bytes": b"", "path": "a.png"}, "no bytes"),
        ("data:image/png;base64,", "no bytes"),
        ("iVBORw0KGgo" + "A" * 90, "broken base64"),
        ("data:image/png,%89PNG", "not base64"),
        ({}, "is no image: write a path"),
        (7, "is no image: write a path"),
        ("  ", "is no image: write a path"),
        ({"bytes": "  "}, "is no image: write a path"),
        ({"bytes": "iVBORw0KGgo!"}, "broken base64"),
        ({"path": "../a.png"}, "leads outside the image root"),
        ({"url": "https://x.org/a.png"}, "is an address"),
    ]:
        with pytest.raises(ValueError, match=words):
            image_source(value, root)
    assert image_values(float("nan")) == image_values("") == image_values([]) == []


def test_held_images_are_examined_as_files_are_and_known_by_content(tmp_path, root, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole, cut = encoded(1), encoded(1, (64, 48))[:-600]
    sources = [image_source(value, root) for value in (whole, cut, b"<html>404</html>")]
    found = examine_images(sources, VerdictCache())
    assert found[sources[0]].size == (12, 8)
    assert found[sources[1]].reason.startswith("cannot be decoded (")
    assert "begins as no" in found[sources[2]].reason
    monkeypatch.setattr("data.image_files.decode", lambda _: pytest.fail("it is known"))
    assert examine_images(sources[:1], VerdictCache())[sources[0]].size == (12, 8)

    rows = [VQAExample(f"a-{i}", (it,), "?", ("x", "y"), "A") for i, it in enumerate(sources)]
    monkeypatch.undo()
    faults = Preflight([])(rows)
    assert set(faults) == {"a-1", "a-2"} and str(sources[1]) in faults["a-1"].value


def test_bytes_stay_on_the_disk_and_nothing_is_left(root, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    tracemalloc.start()
    try:
        sources = [image_source(bytes([i]) * 1_000_000, root) for i in range(40)]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000 and peak < 3_000_000
    assert sources[7].stream().read() == b"\x07" * 1_000_000
    assert list(tmp_path.iterdir()) == []  # it has no name
    descriptor = sources[0].read.store._file.fileno()
    del sources
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_full_temporary_folder_is_named_and_is_no_fault_of_the_row(root, monkeypatch, tmp_path):
    gc.collect()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    held_images._held_by.clear()
    with pytest.raises(OSError, match=r"temporary folder .*gone .*No such file.*TMPDIR") as caught:
        image_source(encoded(3), root)
    assert not isinstance(caught.value, ValueError)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device.*: free room there"):
        image_source(encoded(4), root)


@pytest.mark.command
def test_a_forked_process_writes_into_a_file_of_its_own(root):
    mine = image_source(encoded(5), root)
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            theirs = image_source(encoded(6), root)
            whole = mine.stream().read() == encoded(5) and theirs.read.store is not mine.read.store
            os.write(into, b"yes" if whole else b"no")
        finally:  # never on into a second run of the tests
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(out, 9) == b"yes"
    os.close(out), os.close(into)
    after = image_source(encoded(7), root)
    assert after.stream().read() == encoded(7) and mine.stream().read() == encoded(5)


def test_an_image_of_too_many_pixels_is_refused_from_its_header(root, monkeypatch):
    monkeypatch.setattr("data.image_bounds.MAX_PIXELS", 50)
    with pytest.raises(ValueError, match=r"image sha256-.* is 12 x 8 pixels"):
        load_image(image_source(encoded(8), root), 0)


def test_a_path_stays_a_path(tmp_path):
    assert isinstance(image_source("a.png", ImageRoot(tmp_path)), Path)
