"""What the README says of the published test files: their text alone nearly answers them.

`python -m data.audit` shows the same beside everything else (tests/data/audit/test_real_splits.py).
"""

from pathlib import Path

import pytest

from data import load_examples
from data.priors import OptionLookup, accuracy

pytestmark = pytest.mark.slow

SPLITS = {
    "CT": "CT(Computed Tomography)",
    "Dermoscopy": "Dermoscopy",
    "Fundus": "Fundus Photography",
    "Microscopy": "Microscopy Images",
    "OCT": "OCT (Optical Coherence Tomography",
    "X-Ray": "X-Ray",
    "Ultrasound": "ultrasound",
}
EXPECTED = {  # per cent
    **{"CT": 99.0, "Dermoscopy": 97.8, "Fundus": 95.7, "Microscopy": 99.7},
    **{"OCT": 100.0, "X-Ray": 96.7, "Ultrasound": 100.0},
}


@pytest.mark.parametrize("modality", SPLITS)
def test_a_lookup_that_sees_no_image_nearly_solves_the_published_files(shared, modality):
    folder = shared / "omnimedvqa_splits"
    train, test = [
        load_examples(folder / part / f"{SPLITS[modality]}_{part}.json", Path("nowhere"))
        for part in ("train", "test")
    ]
    right = accuracy(OptionLookup().fit(train), test)["accuracy"]
    assert 100 * right == pytest.approx(EXPECTED[modality], abs=0.3)
