"""Every image file is decoded before anything takes long, once: verdicts are kept between starts.

That a verdict is known and not made anew is seen by spoiling a file under the same size and time.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.image_files import examine_images
from data.images import load_image
from data.verdict_cache import VERSION, VerdictCache


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "groupwise"


def noise(file: Path, size=(64, 48), **options) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return file


def examine(*paths: Path) -> list:
    found = examine_images(paths, VerdictCache())
    return [found[path].size or found[path].reason for path in paths]


def spoil(file: Path) -> None:
    """Replace the content by no image, of the same size and time."""
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


FORMATS = ("a.jpg", "progressive.jpg", "a.png", "a.bmp", "a.gif", "a.tif", "a.webp", "a.ppm")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.66, 0.9])
def test_a_file_that_breaks_off_behind_its_header_is_found(tmp_path, name, share):
    file = noise(tmp_path / name, **({"progressive": True} if "prog" in name else {}))
    assert examine(file) == [(64, 48)]
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    (reason,) = examine(file)
    assert reason.startswith("cannot be decoded (")
    with pytest.raises(ValueError, match="cannot be decoded"):
        load_image(file, 56)


def test_what_is_no_image_is_found_and_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "text.jpg").write_text("<html>404 not found</html>")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    names = ("text.jpg", "empty.jpg", "folder.jpg", "pipe.jpg", "link.jpg", "gone.jpg")
    found = examine(*(tmp_path / name for name in names))
    assert found[0].startswith("cannot be decoded (UnidentifiedImageError")
    assert found[1:] == ["is an empty file", "is no file", "is no file"] + ["does not exist"] * 2


def test_a_size_that_would_fill_the_memory_is_found(tmp_path, monkeypatch):
    file = noise(tmp_path / "a.png", (400, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    (reason,) = examine(file)
    assert reason.startswith("is too large (Image size (120000 pixels)")
    assert "more than 67,108,864 is not decoded" in reason


def test_the_size_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    assert examine(noise(tmp_path / "a.jpg", exif=exif)) == [(48, 64)]


def test_many_files_each_get_their_own_verdict(tmp_path):
    files = [noise(tmp_path / f"{i}.webp", (8 + i % 50, 8)) for i in range(300)]
    for file in files[::7]:
        spoil(file)
    found = examine(*files)
    assert [isinstance(verdict, str) for verdict in found] == [i % 7 == 0 for i in range(300)]
    assert found[1] == (9, 8) and found[299] == (57, 8)


def test_a_verdict_is_known_at_the_next_start_while_size_and_time_stay(tmp_path):
    file = noise(tmp_path / "a.png")
    assert examine(file) == [(64, 48)]
    spoil(file)
    assert examine(file) == [(64, 48)]
    os.utime(file, ns=(1, 1))
    assert "cannot be decoded" in examine(file)[0]
    noise(file)
    assert examine(file) == [(64, 48)]
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be decoded" in examine(file)[0]


def test_a_bad_verdict_is_given_anew_at_every_start(tmp_path):
    file = noise(tmp_path / "a.png")
    content, time = file.read_bytes(), file.stat().st_mtime_ns
    spoil(file)
    assert "cannot be decoded" in examine(file)[0]
    file.write_bytes(content)
    os.utime(file, ns=(time, time))
    assert examine(file) == [(64, 48)]


def test_paths_are_told_apart_from_whatever_folder_they_are_named(tmp_path, monkeypatch):
    file = noise(tmp_path / "a.png")
    assert examine(file) == [(64, 48)]
    spoil(file)
    monkeypatch.chdir(tmp_path)
    assert examine(Path("a.png")) == [(64, 48)]
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert examine(Path("a.png")) == ["does not exist"]


DAMAGE = {
    "empty": b"",
    "cut short": b'{"version": "' + VERSION.encode() + b'", "images": {"/a": [1',
    "no text": bytes(range(256)),
    "null": b"null",
    "a list": b"[1, 2]",
    "of another version": b'{"version": "0", "images": {"FILE": ENTRY}}',
    "without images": b'{"version": "' + VERSION.encode() + b'"}',
    "images are a list": b'{"version": "' + VERSION.encode() + b'", "images": ["FILE"]}',
    "too deep": b"[" * 100_000,
    **{
        f"an entry is {entry}": b'{"version": "'
        + VERSION.encode()
        + b'", "images": {"FILE": %s}}' % entry.encode()
        for entry in ("null", "[]", "[SIZE, TIME]", '[SIZE, TIME, "64", 48]', "[SIZE, TIME, 0, 1]")
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_as_good_as_none_and_is_replaced(tmp_path, cache_folder, damage):
    file = noise(tmp_path / "a.png")
    examine(file)
    (cache,) = cache_folder.iterdir()
    whole, stat = cache.read_bytes(), file.stat()
    numbers = {b"FILE": str(file).encode(), b"ENTRY": b"[SIZE, TIME, 1, 1]"}
    numbers |= {b"SIZE": b"%d" % stat.st_size, b"TIME": b"%d" % stat.st_mtime_ns}
    content = DAMAGE[damage]
    for name, value in numbers.items():
        content = content.replace(name, value)
    cache.write_bytes(content)
    assert examine(file) == [(64, 48)]
    assert cache.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_said_once_and_is_no_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    one, other = noise(tmp_path / "a.png"), noise(tmp_path / "b.png")
    cache = VerdictCache()
    assert examine_images([one], cache)[one].size == (64, 48)
    assert examine_images([other], cache)[other].size == (64, 48)
    printed = capsys.readouterr().err
    assert printed.count("warning: ") == 1 and "XDG_CACHE_HOME" in printed


def test_two_processes_at_once_leave_what_both_have_learned(tmp_path, cache_folder):
    files = [noise(tmp_path / f"{i}.png") for i in range(3)]
    caches = [VerdictCache() for _ in files]
    for file, cache in zip(files, caches, strict=True):
        examine_images([file], cache)
    (cache,) = cache_folder.iterdir()  # and nothing unfinished beside it
    assert set(json.loads(cache.read_text())["images"]) == {str(file) for file in files}


@pytest.mark.parametrize("name", ["", "relative"])
def test_without_a_cache_folder_that_counts_it_lies_below_the_home(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    examine(noise(tmp_path / "a.png"))
    (cache,) = (tmp_path / "home" / ".cache" / "groupwise").iterdir()
    assert cache.name == f"images-{VERSION}.json"


def test_what_was_seen_before_an_interruption_is_kept(tmp_path, monkeypatch):
    files = [noise(tmp_path / f"{i:03}.png") for i in range(200)]
    real = Image.open

    def interrupted(file, *args, **kwargs):
        if Path(file.name).name == "150.png":
            raise KeyboardInterrupt
        return real(file, *args, **kwargs)

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        examine(*files)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spoil(files[0])
    assert examine(files[0]) == [(64, 48)]


def test_no_files_need_no_look_and_no_threads(monkeypatch):
    monkeypatch.setattr("data.image_files.ThreadPoolExecutor", None)
    assert examine_images([], VerdictCache()) == {}


def test_a_user_without_a_home_has_no_cache_and_no_error(tmp_path, monkeypatch, capsys):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", homeless)
    assert examine(noise(tmp_path / "a.png")) == [(64, 48)]
    assert capsys.readouterr().err == ""
