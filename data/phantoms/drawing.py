"""From attributes to a picture: the body, then its lesion, then what the machine adds."""

import numpy as np
from PIL import Image

from data.phantoms import echoes, photographs, radiology
from data.phantoms.attributes import Attributes
from data.phantoms.lesions import draw_lesion
from data.phantoms.pencils import to_image

# modality: (draws the anatomy, colours of its lesions, adds noise and crops what lies outside)
MACHINES = {
    "CT": (radiology.ct, radiology.CT_PALETTE, radiology.finish_ct),
    "MRI": (radiology.mri, radiology.MRI_PALETTE, radiology.finish_mri),
    "X-Ray": (radiology.xray, radiology.XRAY_PALETTE, radiology.finish_xray),
    "Ultrasound": (echoes.ultrasound, echoes.ULTRASOUND_PALETTE, echoes.finish_ultrasound),
    "Dermoscopy": (
        photographs.dermoscopy,
        photographs.SKIN_PALETTE,
        photographs.finish_dermoscopy,
    ),
    "Fundus": (photographs.fundus, photographs.FUNDUS_PALETTE, photographs.finish_fundus),
    "OCT": (echoes.oct_scan, echoes.OCT_PALETTE, echoes.finish_oct),
    "Microscopy": (
        photographs.microscopy,
        photographs.CELL_PALETTE,
        photographs.finish_microscopy,
    ),
}


def draw_phantom(attributes: Attributes, rng: np.random.Generator) -> Image.Image:
    """Return an 84 x 84 RGB picture that shows ``attributes``; ``rng`` decides all else."""
    draw_anatomy, palette, finish = MACHINES[attributes.modality]
    canvas = np.ascontiguousarray(draw_anatomy(attributes.anatomy, rng), dtype=np.float32)
    draw_lesion(canvas, attributes, rng, palette)
    finish(canvas, rng)
    return to_image(canvas)
