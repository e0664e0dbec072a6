"""What ultrasound and optical coherence tomography show: echoes, drawn with their speckle."""

from collections.abc import Sequence

import numpy as np

from data.phantoms.lesions import Palette
from data.phantoms.pencils import SIZE, Frame, blank, clouds, grain, inside, paint, scatter

ULTRASOUND_PALETTE = Palette(solid=1.0, empty=0.0, ring=1.0, core=0.0, dots=1.0, halo=0.42)
OCT_PALETTE = Palette(
    solid=(0.95, 1.0, 0.95),
    empty=(0.0, 0.0, 0.0),
    ring=(0.95, 1.0, 0.95),
    core=(0.0, 0.0, 0.0),
    dots=(1.0, 1.0, 1.0),
    halo=(0.36, 0.46, 0.4),
)


def ultrasound(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """A speckled fan under a curved probe; kidney, thyroid, bladder, muscle."""
    frame, canvas = Frame.jittered(rng), blank(0.3)
    if anatomy == 0:
        paint(canvas, frame.ellipse(0, 0.05, 0.66, 0.42, -0.15), 0.14)
        paint(canvas, frame.ellipse(0, 0.05, 0.36, 0.16, -0.15), 0.72)
    if anatomy == 1:
        paint(canvas, frame.ellipse(0, 0.18, 0.13, 0.16), 0.02)  # the windpipe
        for side in (-1, 1):
            paint(canvas, frame.ellipse(side * 0.42, 0.02, 0.3, 0.36, side * 0.2), 0.66)
            paint(canvas, frame.ellipse(side * 0.78, 0.14, 0.12, 0.14), 0.03)
        paint(canvas, frame.box(0, -0.06, 0.3, 0.07, 0.05), 0.66)
    if anatomy == 2:
        paint(canvas, frame.ellipse(0, 0, 0.6, 0.46), 0.8)
        paint(canvas, frame.ellipse(0, 0, 0.53, 0.39), 0.03)
        paint(canvas, frame.box(0, 0.8, 0.42, 0.34), 0.62, 0.6)  # brighter behind fluid
    if anatomy == 3:
        wave = frame.y * 19 + np.sin(frame.x * 3 + rng.uniform(0, 6)) * 1.3
        canvas += np.maximum(np.sin(wave), 0) * np.float32(0.5) - np.float32(0.14)
    speckle = (0.45 + 0.75 * np.abs(grain(rng))) * (1 + 0.2 * clouds(rng, 8))
    return canvas * speckle.astype(np.float32)


def finish_ultrasound(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += grain(rng) * np.float32(0.03)
    fan = Frame()
    x, y = fan.x, fan.y + np.float32(1.75)  # the fan's apex lies above the canvas
    radius = np.hypot(x, y)
    canvas *= inside(radius - 0.84) * inside(2.72 - radius) * inside((0.62 - np.abs(x) / y) * 1.5)


def oct_scan(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """A cross-section through layers of the eye; fovea, cornea, choroid, nerve."""
    frame = Frame.jittered(rng)
    x, y = frame.x, frame.y
    canvas = blank(0.07)
    if anatomy == 0:
        dip = np.exp(-((x / 0.26) ** 2)) * 0.34
        _layers(canvas, y + 0.2, dip, ((0.0, 0.62), (0.12, 0.3), (0.22, 0.5), (0.34, 0.2)))
        _layers(canvas, y + 0.2, dip * 0.15, ((0.46, 0.95), (0.56, 0.4), (0.66, 0.07)))
    if anatomy == 1:
        arch = 0.75 * x * x
        _layers(canvas, y + 0.62, arch, ((0.0, 0.95), (0.08, 0.42), (0.4, 0.85), (0.47, 0.07)))
        iris = inside(0.07 - np.abs(y - 0.62 - 0.1 * x)) * (np.abs(x) > 0.34)
        paint(canvas, iris, 0.6)
    if anatomy == 2:
        wave = np.sin(x * 3.5 + rng.uniform(0, 6)) * 0.05
        _layers(canvas, y + 0.62, wave, ((0.0, 0.5), (0.2, 0.9), (0.3, 0.5), (1.5, 0.1)))
        holes = scatter(rng, 0.28, 0.1)
        paint(canvas, frame.spots(holes[holes[:, 1] > -0.2], 0.09), 0.1)
    if anatomy == 3:
        cup = np.exp(-((x / 0.42) ** 4)) * 0.75
        _layers(canvas, y + 0.46, cup, ((0.0, 0.85), (0.18, 0.4), (0.3, 0.7), (0.42, 0.3)))
        _layers(canvas, y + 0.46, cup * 1.1, ((0.56, 0.95), (0.66, 0.12)))
    speckle = 0.72 + 0.3 * np.abs(grain(rng))
    tint = np.array([0.86, 1.0, 0.92], dtype=np.float32)
    return (canvas * speckle)[..., None] * tint


def _layers(
    canvas: np.ndarray,
    depth: np.ndarray,
    offset: np.ndarray,
    layers: Sequence[tuple[float, float]],
) -> None:
    """Fill downwards from each (depth, brightness) on, below the line that ``offset`` bends."""
    for start, value in layers:
        paint(canvas, inside((depth - offset - start) * np.float32(0.9)), value)


def finish_oct(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += (np.abs(grain(rng)) * np.float32(0.05))[..., None]
    streaks = rng.uniform(0.9, 1.1, (1, SIZE, 1)).astype(np.float32)  # one A-scan a column
    canvas *= streaks
