"""What a run that goes on needs of its run.json, each key of the kind that it must have."""

import pytest

from grpo.run.run_json import check_run_json

WHOLE = {
    "config": {"model": "tiny", "train_json": ["phantoms"], "rewards": ["accuracy"]},
    "checksums": {},
    "prompt_template": "{question} {options}",
    "resumed": [],
    "id_stems": {"train": ["CT_train"]},
}


def test_a_whole_one_passes_and_what_earlier_versions_did_not_note_may_lack():
    check_run_json(WHOLE)
    check_run_json({name: WHOLE[name] for name in WHOLE if name != "id_stems"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "run.json holds no object"),
        ({"config": {}}, "run.json has no checksums"),
        (WHOLE | {"resumed": {}}, "resumed of run.json is no list"),
        (WHOLE | {"config": {"model": "tiny"}}, "config has no train_json"),
        (WHOLE | {"config": WHOLE["config"] | {"rewards": "all"}}, "rewards of config is no list"),
        (WHOLE | {"id_stems": []}, "id_stems holds no object"),
        (WHOLE | {"id_stems": {"train": "CT"}}, "train of id_stems is no list"),
    ],
)
def test_the_first_that_is_missing_or_of_another_kind_is_named(content, message):
    with pytest.raises(ValueError, match=message):
        check_run_json(content)
