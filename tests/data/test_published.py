"""Where missing images are published: known by paths and names, never guessed."""

import pytest

from data.faults import missing_hint, missing_images
from data.images import MISSING
from data.published import PUBLISHED, where_published
from data.reading.bad_rows import BadRow

pytestmark = pytest.mark.unit


def test_what_is_missing_is_named_once_with_where_it_is_published():
    def missing(name):
        return BadRow("t.json", 0, f"image {name}", MISSING)

    bad = [missing(f"imgs/xmlab{i}/source.jpg") for i in (1, 1, 2, 3, 4)]
    bad.append(BadRow("t.json", 9, "image x.png", "is an empty file"))
    assert len(missing_images(bad)) == 4
    hint = missing_hint(bad, 10)
    assert hint.startswith("; 4 of 10 image files are missing: is --image-root the folder")
    assert "xmlab3/source.jpg, ...." in hint and "xmlab4" not in hint
    assert hint.endswith("SLAKE: hub data set BoKelvin/SLAKE (arXiv:2102.09542): imgs.zip")
    assert missing_hint(bad[-1:], 10) == ""
    assert r"a\nb" in missing_hint([missing("a\nb")], 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("root/Images/Chest CT Scan/test/000139 (9).png", "OmniMedVQA"),
        ("figures/PMC1_Fig1.jpg", "PMC-VQA"),
        ("imgs/xmlab102/source.jpg", "SLAKE"),
        ("synpic100132.jpg", "VQA-RAD"),
        ("data/vqa-rad/train.parquet", "VQA-RAD"),
        ("pathvqa_test.jsonl", "PathVQA"),
        ("files/p10/p10000032/s50414267/02aa804e.jpg", "MIMIC-CXR"),
        ("images/MM-0-a.jpeg", "MedXpertQA"),
        ("MedFrameQA/test.jsonl", "MedFrameQA"),
    ],
)
def test_a_data_set_is_known_by_its_paths_and_names(text, name):
    (found,) = where_published([text, "other.png"])
    assert found.name.startswith(name) and found.where


def test_nothing_is_guessed_of_other_names():
    assert where_published(["a.png", "my/scans/p10/1.png", "SLA/KE.png", ""]) == []
    everything = ["Images/x/a", "PMC1_a", "xmlab1/", "synpic1", "pathvqa", "mimic", "medxpert"]
    assert where_published([*everything, "medframe", "never looked at"]) == list(PUBLISHED)
