"""Bodies as CT, MRI and X-ray show them. Each function draws anatomy 0 to 3 of its modality."""

import numpy as np

from data.phantoms.lesions import Palette
from data.phantoms.pencils import Frame, blank, clouds, grain, paint

CT_PALETTE = Palette(solid=0.97, empty=0.03, ring=0.98, core=0.02, dots=1.0, halo=0.5)
MRI_PALETTE = Palette(solid=1.0, empty=0.0, ring=0.97, core=0.0, dots=1.0, halo=0.42)
XRAY_PALETTE = Palette(
    solid=(0.96, 0.98, 1.0),
    empty=(0.0, 0.01, 0.03),
    ring=(0.96, 0.98, 1.0),
    core=(0.0, 0.01, 0.03),
    dots=(1.0, 1.0, 1.0),
    halo=(0.42, 0.46, 0.54),
)


def ct(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """Axial slices: bone is white, air black; head, chest, abdomen, pelvis."""
    frame, canvas = Frame.jittered(rng), blank(0.0)
    tissue = 0.4 + rng.uniform(-0.03, 0.03)
    if anatomy == 0:
        paint(canvas, frame.ellipse(0, 0, 0.76, 0.93), 0.95)
        paint(canvas, frame.ellipse(0, 0, 0.67, 0.84), tissue)
        paint(canvas, frame.line((0, -0.8), (0, 0.8), 0.012), 0.55)
        for side in (-1, 1):
            paint(canvas, frame.ellipse(side * 0.12, -0.12, 0.06, 0.3, side * 0.25), 0.14)
            paint(canvas, frame.ellipse(side * 0.1, 0.3, 0.05, 0.18, -side * 0.4), 0.14)
        return canvas
    paint(canvas, frame.ellipse(0, 0, 0.97, 0.8), 0.26)  # skin and fat
    paint(canvas, frame.ellipse(0, 0, 0.89, 0.71), tissue)
    if anatomy == 1:
        for side in (-1, 1):
            paint(canvas, frame.ellipse(side * 0.46, -0.02, 0.33, 0.55, side * 0.1), 0.1)
            for y in (-0.42, 0.0, 0.42):
                paint(canvas, frame.ellipse(side * (0.86 - y * y * 0.6), y, 0.04, 0.1), 0.92)
        paint(canvas, frame.ellipse(0.1, -0.12, 0.22, 0.25), 0.55)
    if anatomy == 2:
        paint(canvas, frame.ellipse(-0.38, -0.15, 0.44, 0.42, 0.3), 0.58)
        paint(canvas, frame.ellipse(0.42, -0.28, 0.28, 0.22, -0.4), 0.2)
        paint(canvas, frame.ellipse(0.6, 0.14, 0.14, 0.22), 0.66)
    if anatomy in (1, 2):
        paint(canvas, frame.ellipse(0, 0.54, 0.15, 0.12), 0.95)
        paint(canvas, frame.line((0, 0.6), (0, 0.74), 0.035), 0.9)
    if anatomy == 3:
        for side in (-1, 1):
            paint(canvas, frame.ellipse(side * 0.6, 0.1, 0.22, 0.26), 0.9)
            paint(canvas, frame.ellipse(side * 0.6, 0.1, 0.13, 0.16), 0.5)
            paint(canvas, frame.line((side * 0.28, -0.44), (side * 0.5, -0.28), 0.06), 0.9)
        paint(canvas, frame.ellipse(0, -0.1, 0.24, 0.2), 0.22)
        paint(canvas, frame.box(0, 0.5, 0.2, 0.08, 0.06), 0.9)
    return canvas


def finish_ct(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas += grain(rng) * np.float32(0.025)


def mri(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """Soft tissue is bright, bone dark; brain, knee, spine, heart."""
    frame, canvas = Frame.jittered(rng), blank(0.02)
    if anatomy == 0:
        paint(canvas, frame.ellipse(0, 0, 0.82, 0.96), 0.75)
        paint(canvas, frame.ellipse(0, 0, 0.77, 0.91), 0.06)
        paint(canvas, frame.ellipse(0, 0, 0.71, 0.85), 0.5)
        angle, radius = np.arctan2(frame.y, frame.x), np.hypot(frame.x, frame.y * 0.85)
        folds = np.sin(angle * 17 + np.sin(radius * 9) * 2.5) > 0.45
        paint(canvas, folds * ((radius > 0.44) & (radius < 0.7)), 0.28)
        for side in (-1, 1):
            paint(canvas, frame.ellipse(side * 0.13, -0.02, 0.08, 0.3, side * 0.3), 0.08)
    if anatomy == 1:
        paint(canvas, frame.box(0, 0, 0.7, 1.2, 0.1), 0.3)
        paint(canvas, frame.box(-0.05, -0.85, 0.34, 0.5, 0.1), 0.7)
        paint(canvas, frame.ellipse(-0.05, -0.38, 0.5, 0.34), 0.7)
        paint(canvas, frame.box(0, 0.72, 0.46, 0.6, 0.2), 0.62)
        paint(canvas, frame.box(0, 0.03, 0.5, 0.05, 0.04), 0.05)
        paint(canvas, frame.ellipse(0.62, -0.4, 0.1, 0.25, -0.1), 0.7)
    if anatomy == 2:
        paint(canvas, frame.box(0, 0, 0.78, 1.2), 0.2)
        for k in range(-3, 4):
            paint(canvas, frame.box(-0.28, k * 0.36, 0.25, 0.13, 0.05), 0.62)
            paint(canvas, frame.box(-0.28, k * 0.36 + 0.18, 0.21, 0.035, 0.03), 0.34)
            paint(canvas, frame.ellipse(0.6, k * 0.36, 0.16, 0.07, 0.5), 0.45)
        paint(canvas, frame.box(0.13, 0, 0.1, 1.2), 0.86)
        paint(canvas, frame.box(0.13, 0, 0.045, 1.2), 0.42)
    if anatomy == 3:
        paint(canvas, frame.ellipse(0, 0, 0.98, 0.86), 0.2)
        paint(canvas, frame.ellipse(0.12, -0.02, 0.72, 0.6, 0.5), 0.1)
        paint(canvas, frame.ellipse(0.26, 0.1, 0.42, 0.4), 0.44)
        paint(canvas, frame.ellipse(0.26, 0.1, 0.24, 0.22), 0.9)
        paint(canvas, frame.ellipse(-0.3, -0.02, 0.24, 0.36, 0.5), 0.85)
    return canvas


def finish_mri(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas *= 1 + clouds(rng, 3) * np.float32(0.14)  # the coil's uneven field
    canvas += np.abs(grain(rng)) * np.float32(0.02)


def xray(anatomy: int, rng: np.random.Generator) -> np.ndarray:
    """Projections: everything in the beam adds up; lungs, hand, skull, leg."""
    frame, density = Frame.jittered(rng), blank(0.1)
    if anatomy == 0:
        paint(density, frame.box(0, 0.1, 0.9, 1.2, 0.3), 0.42)
        for side in (-1, 1):
            paint(density, frame.ellipse(side * 0.43, 0, 0.34, 0.78, side * 0.08), 0.2)
        away = np.abs(frame.x)  # from the middle
        ribs = np.abs(((frame.y + 0.5 * away * away - 0.1 * away) / 0.27) % 1 - 0.5) < 0.14
        density += ribs * (away < 0.84) * np.float32(0.16)
        paint(density, frame.box(0, 0, 0.1, 1.2), 0.7)
        paint(density, frame.ellipse(0.2, 0.42, 0.3, 0.3, 0.5), 0.58)
    if anatomy == 1:
        paint(density, frame.ellipse(0, 0.5, 0.6, 0.5), 0.34)
        for k, x in enumerate((-0.56, -0.28, 0.0, 0.28, 0.56)):
            tip = -0.95 + 0.9 * x * x + 0.1 * (k == 4)
            paint(density, frame.line((x * 0.7, 0.3), (x * 1.2, tip), 0.13), 0.34, 0.9)
            joints = np.linspace(0.38, tip, 5)
            for top, low in zip(joints[1:], joints[:-1], strict=True):
                turn = [
                    x * (0.7 + 0.5 * (0.38 - y) / (0.38 - tip)) for y in (low - 0.05, top + 0.05)
                ]
                paint(
                    density, frame.line((turn[0], low - 0.05), (turn[1], top + 0.05), 0.055), 0.82
                )
        for x in (-0.24, 0.0, 0.24):
            paint(density, frame.ellipse(x, 0.56, 0.12, 0.11), 0.78)
            paint(density, frame.ellipse(x * 0.8, 0.78, 0.11, 0.1), 0.72)
    if anatomy == 2:
        paint(density, frame.ellipse(0, -0.14, 0.78, 0.78), 0.85)
        paint(density, frame.ellipse(0, -0.14, 0.69, 0.69), 0.5)
        paint(density, frame.box(0, 0.66, 0.4, 0.34, 0.12), 0.62)
        for side in (-1, 1):
            paint(density, frame.ellipse(side * 0.3, 0.18, 0.2, 0.17), 0.2)
            paint(density, frame.ellipse(side * 0.3, 0.18, 0.15, 0.12), 0.12)
        paint(density, frame.ellipse(0, 0.42, 0.09, 0.15), 0.16)
        paint(density, frame.box(0, 0.74, 0.3, 0.015), 0.2)
    if anatomy == 3:
        paint(density, frame.box(0, 0, 0.66, 1.2), 0.32)
        for x, width in ((-0.2, 0.19), (0.33, 0.1)):
            paint(density, frame.box(x, 0, width, 0.92, 0.08), 0.85)
            paint(density, frame.box(x, 0, width * 0.5, 0.6, 0.05), 0.6)
        for y in (-0.84, 0.84):
            paint(density, frame.ellipse(-0.2, y, 0.31, 0.2), 0.82)
    film = np.array([0.86, 0.94, 1.06], dtype=np.float32)  # the blue base of old film
    return density[..., None] * film


def finish_xray(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas *= np.float32(rng.uniform(0.94, 1.06))
    canvas += (grain(rng) * np.float32(0.025))[..., None]
