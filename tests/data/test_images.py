"""Any image Pillow opens becomes RGB as a person sees it; a broken one is named."""

import numpy as np
import pytest
from PIL import Image

from data.images import load_image

RAMP = np.linspace(0, 1, 256).reshape(16, 16)  # every grey once, dark at the top


def greys(image: Image.Image) -> np.ndarray:
    """The (H, W) greys of an image whose three channels must agree."""
    pixels = np.asarray(image)
    assert image.mode == "RGB"
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


def saved(tmp_path, image: Image.Image, name: str, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((RAMP * 65535).astype(np.uint16), "full.png"),  # I;16
        ((RAMP * 4095).astype(np.uint16), "twelve_bits.tif"),  # a CT's 12 bits in 16
        ((RAMP * 65535).astype(">u2"), "big_endian.tif"),  # I;16B
        ((RAMP * 3000 - 1000).astype(np.int32), "hounsfield.tif"),  # I, below zero
        (RAMP.astype(np.float32), "unit.tif"),  # F
        ((RAMP * 900 - 450).astype(np.float32), "signed.tif"),
    ],
)
def test_deep_greys_keep_their_order_and_fill_the_range(tmp_path, values, name):
    # Pillow's convert("RGB") would clip: nearly all of "full.png" white, half of "signed" black
    path = saved(tmp_path, Image.fromarray(values), name)
    assert (
        np.abs(greys(load_image(path, 0)).astype(int) - np.arange(256).reshape(16, 16)).max() <= 1
    )


@pytest.mark.filterwarnings("error")  # numpy only warns of a division by zero
def test_a_constant_deep_image_and_one_with_holes_are_no_error(tmp_path):
    flat = saved(tmp_path, Image.fromarray(np.full((4, 4), 777, np.uint16)), "flat.png")
    assert (greys(load_image(flat, 0)) == 0).all()
    holes = np.array([[np.nan, 0.0], [1.0, np.inf]], np.float32)
    path = saved(tmp_path, Image.fromarray(holes), "holes.tif")
    assert greys(load_image(path, 0)).tolist() == [[0, 0], [255, 0]]


def test_alpha_lies_over_black(tmp_path):
    # under alpha 0 stands a red that nobody sees; half of 200 is 100
    pixels = np.array([[[255, 0, 0, 0], [200, 200, 200, 128], [9, 8, 7, 255]]], np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels, "RGBA"), "a.png")
    assert np.asarray(load_image(path, 0)).tolist() == [[[0, 0, 0], [100, 100, 100], [9, 8, 7]]]


def test_grey_with_alpha_and_a_transparent_palette_lie_over_black(tmp_path):
    grey = Image.fromarray(np.array([[[200, 0], [77, 255]]], np.uint8), "LA")
    assert greys(load_image(saved(tmp_path, grey, "la.png"), 0)).tolist() == [[0, 77]]

    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    path = saved(tmp_path, palette, "p.png", transparency=0)
    assert np.asarray(load_image(path, 0)).tolist() == [[[0, 0, 0], [0, 0, 255]]]
    path = saved(tmp_path, palette, "p_bytes.png", transparency=bytes([255, 0]))
    assert np.asarray(load_image(path, 0)).tolist() == [[[255, 0, 0], [0, 0, 0]]]


def test_other_colour_spaces_show_the_same_colour(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 30, 40))
    cmyk = saved(tmp_path, red.convert("CMYK"), "cmyk.tif")
    assert load_image(cmyk, 0).getpixel((0, 0)) == (200, 30, 40)
    ycc = saved(tmp_path, red, "jpeg.jpg", quality=100)
    assert np.abs(np.array(load_image(ycc, 0).getpixel((0, 0))) - (200, 30, 40)).max() <= 3
    lab = saved(tmp_path, Image.new("LAB", (8, 8), (255, 128, 128)), "lab.tif")  # white
    assert min(load_image(lab, 0).getpixel((0, 0))) >= 254


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB I F I;16 I;16B I;16L"


@pytest.mark.parametrize("mode", MODES.split())
def test_every_mode_becomes_rgb(mode):
    image = load_image(lambda: Image.new(mode, (5, 3)), 0)
    assert (image.mode, image.size) == ("RGB", (5, 3))


def test_black_and_white_stay_black_and_white(tmp_path):
    bits = Image.fromarray(np.array([[True, False]]))
    assert greys(load_image(saved(tmp_path, bits, "bits.png"), 0)).tolist() == [[255, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40  # 3 wide, 2 high
    as_stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),  # shown turned clockwise, so stored turned the other way
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(as_stored))
    path = saved(tmp_path, stored, "turned.png", exif=exif)
    assert np.array_equal(greys(load_image(path, 0)), upright)


def test_of_several_frames_the_first_is_taken(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (50, 90)]
    path = saved(tmp_path, frames[0], "stack.tif", save_all=True, append_images=frames[1:])
    assert (greys(load_image(path, 0)) == 50).all()


@pytest.mark.parametrize("size", [(30, 90), (500, 20), (384, 384), (4000, 2)])
def test_an_image_size_makes_exactly_that_square(size):
    image = load_image(lambda: Image.new("RGB", size, (10, 200, 30)), 384)
    assert image.size == (384, 384)
    assert image.getpixel((200, 200)) == (10, 200, 30)


def test_a_square_is_stretched_not_cropped_or_padded():
    wide = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 20, axis=1))  # 40 x 1
    pixels = greys(load_image(lambda: wide, 16))
    assert (pixels[:, :6] < 8).all()
    assert (pixels[:, 10:] > 247).all()


def test_a_smaller_square_averages_what_it_replaces():
    # stripes one pixel wide: taking every fourth pixel would give plain black or white
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 32)))
    pixels = greys(load_image(lambda: stripes, 16))[:, 1:-1]  # the border has less to average
    assert np.abs(pixels.astype(int) - 127).max() <= 8


def test_size_zero_leaves_the_image_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 57, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")
    assert np.array_equal(np.asarray(load_image(path, 0)), pixels)


def test_a_file_can_be_deleted_once_it_is_loaded(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (9, 9)), "a.tif")
    image = load_image(path, 0)
    path.unlink()
    assert image.copy().size == (9, 9)


@pytest.mark.parametrize("size", [(200, 1), (3, 601)])
def test_an_image_too_long_for_the_processor_is_named(tmp_path, size):
    path = saved(tmp_path, Image.new("L", size), "long.png")
    with pytest.raises(
        ValueError, match=rf"long\.png is {size[0]} x {size[1]} pixels.*--image-size"
    ):
        load_image(path, 0)
    assert load_image(path, 28).size == (28, 28)


def test_the_longest_image_taken_is_one_the_processor_takes(tmp_path):
    processing = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    path = saved(tmp_path, Image.new("L", (199, 1)), "long.png")
    width, height = load_image(path, 0).size
    assert processing.smart_resize(height, width, 28, 3136, 12845056)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.gif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_a_truncated_file_is_named(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"image .*{name} cannot be decoded .*replace the file"):
        load_image(path, 384)


def test_a_file_that_is_no_image_a_folder_and_a_missing_one_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    for name in ("text.png", "folder.png"):
        with pytest.raises(ValueError, match=f"{name} cannot be decoded"):
            load_image(tmp_path / name, 384)
    with pytest.raises(ValueError, match=r"gone\.png does not exist: check --image-root"):
        load_image(tmp_path / "gone.png", 384)


def test_a_drawing_that_fails_is_named_by_its_own_name():
    class Drawing:
        def __call__(self):
            raise RuntimeError("no ink")

        def __str__(self):
            return "phantoms/CT-7.png"

    with pytest.raises(
        ValueError, match=r"phantoms/CT-7\.png cannot be decoded \(RuntimeError: no"
    ):
        load_image(Drawing(), 0)


def test_real_images_decode(shared):
    paths = sorted((shared / "real_mini" / "Images").rglob("*.jpg"))[:3]
    assert paths
    for path in paths:
        image = load_image(path, 384)
        assert (image.mode, image.size) == ("RGB", (384, 384))
        assert np.asarray(image).std() > 5
