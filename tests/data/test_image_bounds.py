"""An image is refused by its header: foreign formats, too many pixels; and large ones cost little.

What was shown before is kept here as an independent slow version: pixels stay equal to it.
"""

import re
import struct
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from data import image_bounds, images
from data.image_bounds import FORMATS, MAX_PIXELS
from data.image_files import examine_images
from data.images import decode, load_image, to_rgb
from data.verdict_cache import VerdictCache
from process.memory import MemoryRanOutError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png_header(file: Path, width: int, height: int, bits: int = 8, colour: int = 0) -> Path:
    """Write a PNG that says its size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + b"\0\0\0\0IDAT\x35\xaf\x06\x1e")
    return file


def reason(file: Path) -> str:
    return examine_images([file], VerdictCache())[file].reason


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (
            (8192, 8193),
            "is 8192 x 8193 pixels, 67,117,056 in all: an image of more than 67",
        ),
        ((12000, 9000), "is 12000 x 9000 pixels, 108,000,000 in all"),
        ((20000, 20000), r"is too large (Image size (400000000 pixels) exceeds limit"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_pixels_than_are_decoded_are_refused_by_the_header(tmp_path, monkeypatch, size, words):
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    for bits, colour in ((1, 0), (16, 0), (8, 6)):
        file = png_header(tmp_path / "bomb.png", *size, bits, colour)
        assert reason(file).startswith(words)
        with pytest.raises(ValueError, match="bomb.png " + re.escape(words)) as caught:
            load_image(file, 384)
        assert "make it smaller, or cut it into tiles" in str(caught.value)
    assert not decoded


def test_pillow_warns_and_refuses_beyond_our_limit_only():
    assert MAX_PIXELS == 8192**2 < Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "a PostScript file"),
        (b"%PDF-1.7\n", "a PDF file"),
        (bytes(128) + b"DICM" + bytes(60), "a DICOM file"),
        (b"\0\0\0\x20ftypheic", "an AVIF, HEIC or MP4 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_another_kind_of_file_is_named_and_starts_no_program(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program is started"))
    file = tmp_path / "a.png"
    file.write_bytes(content)
    assert reason(file).startswith(f"is {words}")
    with pytest.raises(ValueError, match=rf"a\.png is {words}.*images are read as .*PNG.*convert"):
        load_image(file, 384)


def test_a_format_of_pillow_that_no_data_set_has_is_not_opened(tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(file, "TGA")
    assert reason(file).startswith("cannot be decoded (UnidentifiedImageError: it begins as no BMP")
    assert not {"EPS", "WMF", "FITS", "HDF5"} & set(FORMATS)


def before_all_at_once(image: Image.Image) -> Image.Image:
    """What `to_rgb` was when it worked on the whole image at one time."""
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
        low, high = values.min(), values.max()
        scale = 255 / (high - low) if high > low else 0.0
        return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def of_mode(mode: str, size: tuple[int, int] = (13, 11)) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode == "F":
        values = rng.normal(0, 1e6, size[::-1]).astype(np.float32)
        values[3, 4], values[5, 6], values[7, 8] = np.nan, np.inf, -np.inf
        return Image.fromarray(values)
    bytes_of = {"I": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "1": 1}
    empty = Image.new(mode, size)
    length = bytes_of.get(mode, len(empty.getbands())) * size[0] * size[1]
    noise = rng.integers(0, 256, length, np.uint8).tobytes()
    if mode == "1":
        return Image.frombytes("L", size, noise).convert("1")
    return Image.frombytes(mode, size, noise)


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB I F I;16 I;16B I;16L"


@pytest.mark.parametrize("mode", MODES.split())
def test_pixels_in_bands_are_those_of_the_whole(monkeypatch, mode):
    image = of_mode(mode)
    if mode == "P":
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
        image.info["transparency"] = 77
    wanted = before_all_at_once(image).tobytes()
    for band in (1, 40, 1 << 20):
        monkeypatch.setattr(images, "_BAND", band)
        assert to_rgb(image).tobytes() == wanted


def test_memory_that_runs_out_is_called_that_and_no_verdict_on_the_file(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(file)

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", full)
    for ask in (load_image, lambda path, _: examine_images([path], VerdictCache())):
        with pytest.raises(MemoryRanOutError, match=r"memory ran out while image .*a\.png was dec"):
            ask(file, 56)
    monkeypatch.undo()
    assert load_image(file, 56).size == (56, 56)


def test_all_threads_together_decode_no_more_pixels_than_one_image_may_have(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.new("L", (10, 10)).save(file)
    monkeypatch.setattr(image_bounds, "_ROOM", image_bounds._Room(250))
    at_work, most, lock = 0, 0, threading.Lock()
    real = images.to_rgb

    def counted(image):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.005)
        with lock:
            at_work -= 1
        return real(image)

    monkeypatch.setattr(images, "to_rgb", counted)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(decode, [file] * 40))) == 40
    assert most == 2


def test_a_decoder_that_fails_gives_its_room_back(tmp_path):
    file = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:900])
    before = image_bounds._ROOM._left
    for _ in range(3):
        assert reason(file).startswith("cannot be decoded")
    assert image_bounds._ROOM._left == before == MAX_PIXELS
