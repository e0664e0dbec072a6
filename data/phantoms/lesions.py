"""The lesion: its finding is a pattern, its grade a size, its site a place on the canvas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from data.phantoms.attributes import Attributes
from data.phantoms.pencils import SIZE, Frame, paint

# Radii in pixels. Each disc has at least twice the area of the one before: read from 9 visual
# tokens, sizes closer than that are the first thing a small model confuses.
RADII = (4.0, 7.5, 11.5, 16.5)
DOTS = (3, 7, 14, 26)  # of a finding that is many dots, by grade
DOT_RADIUS = 1.9
CENTERS = ((-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5))


@dataclass(frozen=True)
class Palette:
    """How a modality colours lesions: grey values, or RGB triples."""

    solid: ArrayLike
    empty: ArrayLike
    ring: ArrayLike
    core: ArrayLike  # inside the ring
    dots: ArrayLike
    halo: ArrayLike  # a thin seam that sets every lesion off from its surroundings


def draw_lesion(
    canvas: np.ndarray, attributes: Attributes, rng: np.random.Generator, palette: Palette
) -> None:
    """Paint the lesion onto ``canvas``; its outline wobbles, its centre moves by a pixel or two."""
    radius = RADII[attributes.grade] * 2 / SIZE * rng.uniform(0.94, 1.06)
    center = np.array(CENTERS[attributes.site]) + rng.uniform(-0.045, 0.045, 2)
    frame = Frame(center)
    if attributes.finding == 3:
        _draw_dots(canvas, frame, radius, DOTS[attributes.grade], rng, palette)
        return
    wobble = _wobble(frame, rng)
    color = (palette.solid, palette.empty, palette.ring)[attributes.finding]
    paint(canvas, frame.ellipse(0, 0, radius + 0.06, radius + 0.06), palette.halo, 0.9)
    paint(canvas, _blob(frame, radius, wobble), color)
    if attributes.finding == 2:
        paint(canvas, _blob(frame, radius * 0.52, wobble), palette.core)


def _wobble(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    angle = np.arctan2(frame.y, frame.x)
    slow, middle, fast = (
        0.06 * np.sin(k * angle + np.float32(rng.uniform(0, 6.28))) for k in (2, 3, 5)
    )
    return 1 + (slow + middle + fast)


def _blob(frame: Frame, radius: float, wobble: np.ndarray) -> np.ndarray:
    distance = np.float32(radius) * wobble - np.hypot(frame.x, frame.y)
    return np.clip(distance * np.float32(SIZE / 2) + np.float32(0.5), 0, 1)


def _draw_dots(
    canvas: np.ndarray,
    frame: Frame,
    radius: float,
    count: int,
    rng: np.random.Generator,
    palette: Palette,
) -> None:
    # A sunflower's seeds: evenly spread at any count, never the same twice through the turn.
    steps = np.arange(count)
    distance = max(radius * 1.05, 0.11) * np.sqrt((steps + 0.5) / count)
    angle = steps * 2.39996 + rng.uniform(0, 6.28)
    centers = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
    centers += rng.uniform(-0.012, 0.012, centers.shape)
    paint(canvas, frame.spots(centers, DOT_RADIUS * 2 / SIZE + 0.025), palette.halo, 0.8)
    paint(canvas, frame.spots(centers, DOT_RADIUS * 2 / SIZE), palette.dots)
