"""The audit's facts about the published split files of Med-R1's modality axis."""

import pytest

from data.audit.audited import read_files
from data.audit.findings import audit
from data.audit.sections import tables_of
from process.tables.text import titled_text

pytestmark = pytest.mark.slow

LOOKUP = {  # per cent
    **{"CT": 99.0, "Dermoscopy": 97.8, "Fundus": 95.7, "Microscopy": 99.7},
    **{"OCT": 100.0, "X-Ray": 96.7, "Ultrasound": 100.0},
}
SAME_IMAGE = {"X-Ray": 526, "OCT": 253, "Microscopy": 308}


@pytest.fixture(scope="module")
def report(shared):
    folder = shared / "omnimedvqa_splits"
    return audit(read_files(sorted(folder.glob("*/*.json")), folder))


def by_label(report) -> dict:
    return {pair["label"]: pair for pair in report["pairs"].values()}


def test_the_lookup_nearly_solves_the_test_files(report):
    found = {
        label: 100 * pair["priors"]["lookup"]["accuracy"]
        for label, pair in by_label(report).items()
    }
    assert found == pytest.approx(LOOKUP, abs=0.3)


def test_the_ranker_does_as_well(report):
    pairs = report["pairs"].values()
    mean = sum(pair["priors"]["linear ranker"]["accuracy"] for pair in pairs) / len(pairs)
    assert mean > 0.98


def test_test_rows_show_images_of_the_train_file(report):
    pairs = by_label(report)
    assert {name: pairs[name]["images"]["same_image"] for name in SAME_IMAGE} == SAME_IMAGE


def test_no_row_is_bad_and_44_hold_equal_options(report):
    assert report["totals"] == {
        **{"rows": 63_489, "bad_rows": 0, "equal_options": 44},
        **{"right_option_repeated": 0, "unknown_modality": 1},
    }


def test_every_table_can_be_written(report):
    text = "\n\n".join(map(titled_text, tables_of(report)))
    assert "526 (32.6 %)" in text
    assert "Text priors across files: lookup" in text
