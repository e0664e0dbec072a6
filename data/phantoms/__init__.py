"""Phantoms: drawn images of eight modalities with questions about them, the embedded data set.

`phantom_examples` gives the questions; images are drawn when asked for. Needs numpy and Pillow.
"""

from data.phantoms.parts import SLICES, CountedImage, PhantomImage, phantom_examples

__all__ = ["SLICES", "CountedImage", "PhantomImage", "phantom_examples"]
