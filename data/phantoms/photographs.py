"""What dermoscopy, fundus cameras and microscopes show: colour photographs."""

import numpy as np

from data.phantoms.lesions import Palette
from data.phantoms.pencils import Frame, blank, clouds, grain, inside, paint, scatter

SKIN_PALETTE = Palette(
    solid=(0.26, 0.13, 0.1),
    empty=(0.97, 0.97, 1.0),
    ring=(0.55, 0.02, 0.2),
    core=(1.0, 0.62, 0.68),
    dots=(0.2, 0.08, 0.05),
    halo=(0.74, 0.5, 0.4),
)
FUNDUS_PALETTE = Palette(
    solid=(1.0, 0.95, 0.62),
    empty=(0.22, 0.0, 0.02),
    ring=(1.0, 0.95, 0.7),
    core=(0.2, 0.0, 0.0),
    dots=(1.0, 1.0, 0.75),
    halo=(0.62, 0.22, 0.08),
)
CELL_PALETTE = Palette(
    solid=(0.22, 0.06, 0.42),
    empty=(1.0, 0.99, 0.97),
    ring=(0.3, 0.04, 0.45),
    core=(1.0, 0.97, 0.98),
    dots=(0.1, 0.02, 0.3),
    halo=(0.82, 0.52, 0.72),
)


def dermoscopy(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """Skin from close by; face (follicles), palm (ridges), scalp (hairs), back (a pigment net)."""
    skin = np.array([0.9, 0.7, 0.58]) + rng.uniform(-0.04, 0.04, 3)
    canvas = blank(skin) + (clouds(rng, 4) * np.float32(0.03))[..., None]
    frame = Frame(rng.uniform(-0.1, 0.1, 2), rng.uniform(-0.15, 0.15))
    if anatomy == 0:
        centers = scatter(rng, 0.3, 0.08)
        paint(canvas, frame.spots(centers, 0.075), (0.76, 0.5, 0.42), 0.8)
        paint(canvas, frame.spots(centers, 0.035), (0.98, 0.9, 0.78))
    if anatomy == 1:
        ridges = np.sin((frame.y + 0.28 * frame.x + 0.1 * frame.x**2) * 26)
        paint(canvas, np.clip(ridges * 1.5, 0, 1), (0.75, 0.5, 0.44), 0.75)
    if anatomy == 2:
        for start in np.linspace(-1.4, 1.1, 11) + rng.uniform(-0.06, 0.06, 11):
            bend = rng.uniform(0.1, 0.3)
            along = frame.x - start - bend * frame.y * frame.y - 0.25 * frame.y
            paint(canvas, inside(0.018 - np.abs(along) * 0.9), (0.14, 0.09, 0.07), 0.9)
    if anatomy == 3:
        u, v = (frame.x + frame.y) * 9, (frame.x - frame.y) * 9
        net = np.maximum(np.abs(np.sin(u)), np.abs(np.sin(v))) > 0.95
        paint(canvas, net.astype(np.float32), (0.55, 0.36, 0.27), 0.75)
    return canvas


def finish_dermoscopy(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += (grain(rng) * np.float32(0.015))[..., None]


def fundus(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """The back of the eye; centred on the disc, on the macula, between the arcades, far out."""
    canvas = blank((0.83, 0.36, 0.12)) * np.float32(rng.uniform(0.93, 1.05))
    frame = Frame.jittered(rng, 1.5)
    vessel = (0.5, 0.06, 0.04)
    if anatomy == 0:
        for angle in np.arange(8) * 0.785 + rng.uniform(-0.1, 0.1, 8) + 0.39:
            tip = (np.cos(angle) * 1.3, np.sin(angle) * 1.3)
            paint(canvas, frame.line((0, 0), tip, 0.028), vessel)
        paint(canvas, frame.ellipse(0, 0, 0.25, 0.28), (1.0, 0.86, 0.5))
        paint(canvas, frame.ellipse(0, 0, 0.11, 0.13), (1.0, 0.95, 0.75))
    if anatomy == 1:
        paint(canvas, frame.ellipse(0, 0, 0.42, 0.4), (0.62, 0.2, 0.06), 0.6)
        paint(canvas, frame.ellipse(0, 0, 0.2, 0.19), (0.42, 0.1, 0.03), 0.8)
        for side in (-1, 1):
            arc = np.abs(np.hypot(frame.x - 0.1, frame.y * 0.9) - 0.86)
            paint(canvas, inside(0.022 - arc) * (frame.y * side > 0.2), vessel)
        paint(canvas, frame.ellipse(0.93, 0, 0.14, 0.17), (1.0, 0.86, 0.5))
    if anatomy == 2:
        for bow, width in ((0.55, 0.045), (0.25, 0.025), (0.95, 0.025)):
            for side in (-1, 1):
                away = np.abs(frame.y - side * bow * np.sqrt(np.maximum(frame.x + 0.95, 0) * 0.7))
                paint(canvas, inside((width - away) * 0.9) * (frame.x > -0.95), vessel)
        paint(canvas, frame.ellipse(-0.88, 0, 0.2, 0.24), (1.0, 0.86, 0.5))
    if anatomy == 3:
        paint(canvas, inside(np.float32(2)), (0.8, 0.42, 0.24), 0.8)
        phase = rng.uniform(0, 6)
        for offset in np.arange(-1.2, 1.3, 0.27):
            wave = frame.y - offset + 0.07 * np.sin(frame.x * 5 + phase + offset * 3)
            paint(canvas, inside(0.034 - np.abs(wave)), (0.6, 0.14, 0.08), 0.85)
    return canvas


def finish_fundus(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += (grain(rng) * np.float32(0.015))[..., None]
    eye = Frame()
    radius = np.hypot(eye.x, eye.y)
    canvas *= ((1.04 - 0.16 * radius * radius) * inside(0.97 - radius))[..., None]


def microscopy(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """Stained tissue; lymph node, blood, tendon, gland."""
    frame = Frame(rng.uniform(-0.1, 0.1, 2), rng.uniform(-0.2, 0.2))
    shade = (clouds(rng, 5) * np.float32(0.02))[..., None]
    if anatomy == 0:
        canvas = blank((0.86, 0.72, 0.86)) + shade
        centers = scatter(rng, 0.21, 0.14)
        paint(canvas, frame.spots(centers, 0.085), (0.56, 0.4, 0.7))
        paint(canvas, frame.spots(centers, 0.05), (0.46, 0.28, 0.62))
    elif anatomy == 1:
        canvas = blank((0.98, 0.95, 0.9)) + shade
        centers = scatter(rng, 0.38, 0.16)
        paint(canvas, frame.spots(centers, 0.16), (0.9, 0.42, 0.42))
        paint(canvas, frame.spots(centers, 0.06), (0.97, 0.7, 0.67))
    elif anatomy == 2:
        canvas = blank((0.93, 0.6, 0.72)) + shade
        fibres = np.sin(frame.y * 30 + np.sin(frame.x * 4 + rng.uniform(0, 6)) * 1.6)
        paint(canvas, np.clip(fibres * 1.4, 0, 1), (0.84, 0.42, 0.6), 0.8)
        for x, y in scatter(rng, 0.5, 0.2):
            paint(canvas, frame.ellipse(x, y, 0.11, 0.026, 0.05), (0.4, 0.2, 0.55))
    else:
        canvas = blank((0.95, 0.83, 0.9)) + shade
        centers = scatter(rng, 0.66, 0.05)
        paint(canvas, frame.spots(centers, 0.29), (0.62, 0.4, 0.7))
        paint(canvas, frame.spots(centers, 0.235), (0.86, 0.66, 0.82))
        paint(canvas, frame.spots(centers, 0.15), (0.99, 0.97, 0.98))
    return canvas


def finish_microscopy(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += (grain(rng) * np.float32(0.015))[..., None]
