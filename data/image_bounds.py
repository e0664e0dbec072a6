"""What an image file may be before it is decoded: its formats, its pixels, and how many at a time.

A few hundred kilobytes can say that they are 170 million pixels of 16 bits and cost gigabytes, and
some of Pillow's formats start other programs (Ghostscript for EPS). Both are told from the header.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

# 67 million: mammograms (4,800 x 6,000), stitched long-leg films (3,000 x 10,000) and tiles of
# slides (4,096 a side) have less, a model sees a fraction of it, and a decoded one with its copies
# takes at most 1.3 GB. It is below what Pillow warns of (89 million) and refuses (179 million).
MAX_PIXELS = 8192 * 8192
# Pillow's names. A JPEG of several pictures (MPO) and a BMP without a file header are among them.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_FORMATS_IN_WORDS = "BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP"
_OTHERS = (  # where, how a file begins there, and what it is then
    (0, b"%!PS", "a PostScript file, which is a program"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file, which is a program"),
    (0, b"%PDF", "a PDF file"),
    (128, b"DICM", "a DICOM file"),
    (4, b"ftyp", "an AVIF, HEIC or MP4 file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"PK\x03\x04", "a zip file"),
    (0, b"version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the image)"),
)
_HEAD = 132  # bytes that tell these


class ImageRefusalError(ValueError):
    """An image that is not decoded; the text follows the file's name."""


@contextmanager
def opened_image(stream: BinaryIO) -> Iterator[Image.Image]:
    """Yield an image of which only the header has been read, once there is room for its pixels.

    Raises:
        ImageRefusalError: another kind of file, or an image of more than MAX_PIXELS.
        UnidentifiedImageError: no image at all. Decoders raise what they like besides.
    """
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        raise _unidentified(stream) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefusalError(f"is too large ({error}): {_way_out()}") from None
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageRefusalError(
                f"is {width} x {height} pixels, {width * height:,} in all: {_way_out()}"
            )
        with _ROOM.taken(width * height):
            yield image


def _way_out() -> str:
    return (
        f"an image of more than {MAX_PIXELS:,} is not decoded, since it would fill the memory:"
        " make it smaller, or cut it into tiles"
    )


def _unidentified(stream: BinaryIO) -> Exception:
    stream.seek(0)
    head = stream.read(_HEAD)
    for place, start, kind in _OTHERS:
        if head[place:].startswith(start):
            return ImageRefusalError(
                f"is {kind}, and images are read as {_FORMATS_IN_WORDS}: convert it"
            )
    return UnidentifiedImageError(f"it begins as no {_FORMATS_IN_WORDS} file does")


class _Room:
    """Pixels that all threads together may decode at one time: as many as one image may have.

    Sixteen ordinary images stand in it side by side, and two of the largest one after the other.
    """

    def __init__(self, pixels: int) -> None:
        self._left = pixels
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


_ROOM = _Room(MAX_PIXELS)
