"""From attributes to a picture: the body, then its lesion, then what the machine adds."""

from collections.abc import Sequence
from dataclasses import replace

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


def draw_phantom(
    attributes: Attributes, rng: np.random.Generator, sites: Sequence[int] = ()
) -> Image.Image:
    """Return an 84 x 84 RGB picture that shows ``attributes``; ``rng`` decides all else.

    With ``sites`` it shows a lesion at each of them in place of the one.
    """
    draw_anatomy, palette, finish = MACHINES[attributes.modality]
    canvas = np.ascontiguousarray(draw_anatomy(attributes.anatomy, rng), dtype=np.float32)
    for site in sites or (attributes.site,):
        draw_lesion(canvas, replace(attributes, site=site), rng, palette)
    finish(canvas, rng)
    return to_image(canvas)
