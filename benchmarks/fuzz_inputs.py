"""Rows and images that nobody should publish, drawn from a seed: what fuzzing reads.

Rows are published ones with fields replaced, repeated, nested, or made of what patterns read;
images are what Pillow's encoders wrote, with bytes changed, cut off, or a header that says a lot.
"""

import json
import random
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> A </answer>"}
TABLE_ROW = {
    "image_path": "a.png",
    "question": "What?",
    "gt_answer": "CT",
    "option_A": "CT",
    "option_B": "MRI",
}
PIECES = [
    *("A)", " A) ", ", B)", "\n", " ", "?", "<image>", "</", "<|im_end|>", "<|", "no ", "type of "),
    *("option B ", "\u0315\u0300", "\u202e", "\0", "\x1b[2J", "../", "\ud83d", "\U0001f600", "9"),
    *("method ", "A or B ", "(", "'s", "CT", "<answer> B </answer>", "\u3000", "K\u00e9", "NaN"),
]
VALUES = [None, True, 0, -1, 1e308, float("nan"), float("inf"), [], {}, [[]], [""], {"a": {}}]
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP")
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("1", "L", "RGB", "RGBA", "I;16", "F"),
    "GIF": ("L", "P"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "RGB"),
}


def fuzzed_row(rng: random.Random, longest: int) -> str:
    """Return one row's JSON text, most often well formed."""
    row = dict(rng.choice((ROW, TABLE_ROW)))
    for _ in range(rng.randrange(1, 4)):
        name = rng.choice(list(row))
        what = rng.randrange(6)
        if what == 0:
            row[name] = rng.choice(VALUES)
        elif what == 1:
            del row[name]
            row = row or dict(ROW)
        elif what == 2:
            row[f"option_{rng.choice('CDZaA1')}"] = _text(rng, longest)
        else:
            row[name] = _text(rng, longest)
    text = json.dumps(row, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.1:
        text = text[:-1] + f', "{rng.choice(list(row))}": "again"}}'
    if rng.random() < 0.05:
        text = text.replace("CT", "9" * rng.choice((10, 5000)), 1)
    return text


def _text(rng: random.Random, longest: int) -> str:
    length = int(longest ** rng.random())
    pieces = rng.sample(PIECES, 4)
    if rng.random() < 0.5:  # a few without end
        piece = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 4)))
        return (piece * (length // len(piece) + 1))[:length]
    return "".join(rng.choice(pieces) for _ in range(min(length, 400)))


def rows_file(rng: random.Random, longest: int) -> bytes:
    """Return a file of a good row, a fuzzed one and a good one; some are damaged as a whole."""
    text = f"[{json.dumps(ROW)}, {fuzzed_row(rng, longest)},\n{json.dumps(ROW)}]"
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        content = _changed(rng, content)
    return content


def fuzzed_image(rng: random.Random) -> tuple[str, bytes]:
    """Return what was done, and an image file's content."""
    kind = rng.choice(FORMATS)
    content = _encoded(rng, kind)
    what = rng.choice(("bytes changed", "cut off", "header", "bomb", "whole"))
    if what == "bytes changed":
        content = _changed(rng, content)
    elif what == "cut off":
        content = content[: rng.randrange(len(content))]
    elif what == "header":
        content = _extreme(rng, kind, content)
    elif what == "bomb":
        content = bomb(rng)
    return f"{kind}, {what}" if what != "bomb" else "PNG, bomb", content


def _encoded(rng: random.Random, kind: str) -> bytes:
    mode = rng.choice(MODES[kind])
    size = rng.randrange(1, 90), rng.randrange(1, 90)
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, size[::-1], np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise.astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    options: dict = {}
    if kind in ("GIF", "TIFF", "WEBP", "PNG") and rng.random() < 0.3:
        options = {"save_all": True, "append_images": [image.copy() for _ in range(3)]}
    if kind == "TIFF" and not options:
        options = {"compression": rng.choice((None, "tiff_lzw", "tiff_deflate", "packbits"))}
    if kind == "JPEG":
        options = {"progressive": rng.random() < 0.5}
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _changed(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 3, 10, 40))):
        place = rng.randrange(min(len(data), rng.choice((64, len(data)))))
        data[place] = rng.choice(
            (0, 255, data[place] ^ (1 << rng.randrange(8)), rng.randrange(256))
        )
    return bytes(data)


def _extreme(rng: random.Random, kind: str, content: bytes) -> bytes:
    """Write a size into the header where the format has it; a PNG's checksum is made to fit."""
    size = [rng.choice((0, 1, 9000, 65535, 2**31 - 1)) for _ in range(2)]
    data = bytearray(content)
    if kind == "PNG":
        data[16:24] = struct.pack(">II", *size)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", *size)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", *(value & 0xFFFF for value in size))
    elif kind == "JPEG":
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        if frame > 0:
            data[frame + 5 : frame + 9] = struct.pack(">HH", *(value & 0xFFFF for value in size))
    else:
        place = rng.randrange(8, min(len(data), 200))
        data[place : place + 4] = struct.pack("<I", size[0])
    return bytes(data)


def bomb(rng: random.Random) -> bytes:
    """Return a PNG of millions of equal pixels in a few kilobytes, below or beyond the limit."""
    side = rng.choice((1500, 3000, 8000, 9000, 13000))
    bits, colour, channels = rng.choice(((1, 0, 1), (8, 2, 3), (16, 0, 1), (8, 6, 4)))
    if side < 8500:
        line = bytes(1 + side * channels * bits // 8)
        packer, parts = zlib.compressobj(1), []
        for _ in range(side):
            parts.append(packer.compress(line))
        body = b"".join(parts) + packer.flush()
    else:
        body = zlib.compress(bytes(1000))
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
