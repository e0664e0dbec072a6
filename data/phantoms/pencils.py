"""Soft-edged shapes on a small square canvas, the pencils that all modalities draw with.

Coordinates run from -1 to 1, x to the right and y downwards. A shape is a (SIZE, SIZE) mask from 0
to 1 whose edge is one pixel wide, so that small shapes stay smooth.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

SIZE = 84  # 6 x 6 patches of 14 pixels: 9 visual tokens for Qwen2-VL
_AXIS = (np.arange(SIZE, dtype=np.float32) * 2 + 1) / SIZE - 1
_X, _Y = np.meshgrid(_AXIS, _AXIS)
_INDEX = np.arange(SIZE, dtype=np.float32)


class Frame:
    """Where things are: the whole canvas, or the same shifted, turned and scaled a little."""

    def __init__(
        self,
        shift: Sequence[float] | np.ndarray = (0.0, 0.0),
        angle: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self.shift, self.scale = shift, scale
        self.cos, self.sin = float(np.cos(angle)), float(np.sin(angle))
        x = (_X - np.float32(shift[0])) / np.float32(scale)
        y = (_Y - np.float32(shift[1])) / np.float32(scale)
        self.x = x * np.float32(self.cos) + y * np.float32(self.sin)
        self.y = y * np.float32(self.cos) - x * np.float32(self.sin)

    @classmethod
    def jittered(cls, rng: np.random.Generator, amount: float = 1.0) -> "Frame":
        """Return a frame as a patient lies in it: never twice the same."""
        shift = rng.uniform(-0.05, 0.05, 2) * amount
        return cls(shift, rng.uniform(-0.08, 0.08) * amount, 1 + rng.uniform(-0.06, 0.06) * amount)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
        x, y = self.x - np.float32(cx), self.y - np.float32(cy)
        if angle:
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            x, y = x * cos + y * sin, y * cos - x * sin
        radius = np.sqrt((x / np.float32(rx)) ** 2 + (y / np.float32(ry)) ** 2)
        return inside((1 - radius) * np.float32(min(rx, ry)))

    def box(
        self, cx: float, cy: float, half_width: float, half_height: float, corner: float = 0.0
    ) -> np.ndarray:
        x = np.abs(self.x - np.float32(cx)) - np.float32(half_width - corner)
        y = np.abs(self.y - np.float32(cy)) - np.float32(half_height - corner)
        outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0)
        return inside(np.float32(corner) - outside)

    def line(self, start: Sequence[float], end: Sequence[float], width: float) -> np.ndarray:
        """Return a straight stroke with round ends, ``width`` being half its thickness."""
        dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
        x, y = self.x - np.float32(start[0]), self.y - np.float32(start[1])
        along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
        return inside(np.float32(width) - np.hypot(x - along * dx, y - along * dy))

    def spots(self, centers: np.ndarray, radius: float) -> np.ndarray:
        """Return many discs of one radius at (count, 2) ``centers``.

        Each disc is drawn in its own small window: distances to a hundred centres at every pixel
        would cost more than all the rest of a picture.
        """
        mask = np.zeros((SIZE, SIZE), dtype=np.float32)
        x, y = centers[:, 0] * self.scale, centers[:, 1] * self.scale
        on_canvas = np.stack(
            [
                x * self.cos - y * self.sin + self.shift[0],
                y * self.cos + x * self.sin + self.shift[1],
            ],
            axis=1,
        )
        pixels = ((on_canvas + 1) * SIZE - 1) / 2
        reach = radius * self.scale * SIZE / 2
        first = np.clip(np.ceil(pixels - reach - 0.5), 0, SIZE).astype(int)
        last = np.clip(np.floor(pixels + reach + 0.5) + 1, 0, SIZE).astype(int)
        for (column, row), (left, top), (right, low) in zip(
            pixels.tolist(), first.tolist(), last.tolist(), strict=True
        ):
            if left >= right or top >= low:
                continue
            distance = np.hypot(_INDEX[left:right] - column, _INDEX[top:low, None] - row)
            window = mask[top:low, left:right]
            np.maximum(window, np.clip(reach - distance + 0.5, 0, 1), out=window)
        return mask


def inside(distance: np.ndarray | np.floating) -> np.ndarray:
    """Return the mask of a signed distance, positive inside the shape."""
    return np.clip(distance * np.float32(SIZE / 2) + np.float32(0.5), 0, 1)


def blank(color: ArrayLike) -> np.ndarray:
    """Return a canvas of one colour: (SIZE, SIZE, 3), or (SIZE, SIZE) for a grey value."""
    color = np.asarray(color, dtype=np.float32)
    return np.broadcast_to(color, (SIZE, SIZE, *color.shape)).copy()


def paint(canvas: np.ndarray, mask: np.ndarray, color: ArrayLike, opacity: float = 1.0) -> None:
    """Lay ``color`` (a value, an RGB triple or a texture) over ``canvas`` where ``mask`` is."""
    if canvas.ndim == 3:
        mask = mask[..., None]
    canvas += mask * np.float32(opacity) * (np.asarray(color, dtype=np.float32) - canvas)


def grain(rng: np.random.Generator) -> np.ndarray:
    """Return white noise, one value a pixel, of mean 0 and deviation 1."""
    return rng.standard_normal((SIZE, SIZE), dtype=np.float32)


def clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Return smooth noise from -1 to 1 with about ``cells`` bumps across the canvas."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def scatter(rng: np.random.Generator, step: float, jitter: float) -> np.ndarray:
    """Return (count, 2) centres over the whole canvas: a hexagonal grid, shaken."""
    rows = np.arange(-1.1, 1.1, step * 0.87)
    columns = np.arange(-1.1, 1.1, step)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * step / 2
    centers = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(0, step, 2)
    return centers + rng.uniform(-jitter, jitter, centers.shape) * step


def to_image(canvas: np.ndarray) -> Image.Image:
    """Return the canvas as an RGB picture; a grey canvas gives three equal channels."""
    if canvas.ndim == 2:
        canvas = np.repeat(canvas[..., None], 3, axis=2)
    return Image.fromarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))
