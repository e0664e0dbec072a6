"""The configs of evaluate.py's commands: what each refuses on its own, without a command line."""

import re

import pytest

from evaluation.asking.shared_flags import AskingFlags
from evaluation.configs import AskConfig, MatrixConfig, ScoreConfig
from evaluation.curate.curate_config import CurateConfig

ONE = {"model": "tiny", "json": ("phantoms",)}
ASK = {"model": "tiny", "image": ("x.png",), "question": "Why?", "options": ("CT", "MRI")}
MATRIX = {"models": ("CT=tiny",), "json": ("phantoms:CT",), "output_dir": "m"}
CURATE = {**ONE, "output_dir": "c"}


def test_without_a_flag_the_embedded_model_is_asked_the_embedded_questions():
    config = ScoreConfig()
    assert (config.checkpoint, config.sources, config.strata) == ("tiny", ("phantoms",), "modality")
    assert config.given() == {}  # all of how it is asked is the checkpoint's


def test_a_text_priors_rows_may_be_chosen_for_themselves():
    only = ("train:split=train", "eval:split=test")
    assert ScoreConfig(**ONE, text_prior=("phantoms",), only=only).only == only


def test_an_empty_value_is_given():
    assert ScoreConfig(model="", json=("phantoms",)).checkpoint == ""


def test_what_is_given_is_told_from_what_is_not():
    assert AskingFlags(image_size=0, mode="think").given() == {"mode": "think", "image_size": 0}


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (ScoreConfig, {"model": "x"}, "--model x without --json: add the test file"),
        (ScoreConfig, {"json": ("a", "b")}, "--json a b without --model: add a checkpoint's"),
        (ScoreConfig, {"permute_options": 1}, "--permute-options 1 must be at least 2"),
        (ScoreConfig, {"shuffle_within": "modality"}, "--shuffle-within modality does nothing"),
        (ScoreConfig, {"thought_samples": 2}, "--thought-samples 2 does nothing without swapped"),
        (ScoreConfig, {"thoughts": ("swaped",)}, "unknown change of thoughts 'swaped'"),
        (ScoreConfig, {"controls": ("noise",)}, "unknown control 'noise': use one of blank"),
        (
            ScoreConfig,
            {"controls": ("shuffled",), "shuffle_within": "x"},
            "unknown stratum 'x' to shuffle within",
        ),
        (
            ScoreConfig,
            {"controls": ("shuffled",), "shuffle_within": ""},
            "unknown stratum '' to shuffle within",
        ),
        (ScoreConfig, {"device": "gpu"}, "device 'gpu' is not there: use one of cpu, cuda"),
        (AskConfig, {**ASK, "dtype": "float16"}, "dtype 'float16' is unknown: use one of auto"),
        (AskConfig, {**ASK, "mode": "Think"}, "unknown mode 'Think': use one of think"),
        (AskConfig, {**ASK, "image_size": -1}, "--image-size -1 must be at least 0"),
        (MatrixConfig, {**MATRIX, "batch_size": 0}, "--batch-size 0 must be at least 1"),
        (MatrixConfig, {**MATRIX, "limit": 0}, "--limit 0 must be at least 1"),
        (MatrixConfig, {**MATRIX, "controls": ("noise",)}, "unknown control 'noise'"),
        (MatrixConfig, {**MATRIX, "only": ("q_lang",)}, "--only 'q_lang' is not FIELD=VALUE"),
        (ScoreConfig, {**ONE, "only": ("train:a=b",)}, "about the rows of train, of which none"),
        (CurateConfig, {**CURATE, "only": ("eval:a=b",)}, "about the rows of eval, of which none"),
        (CurateConfig, {**CURATE, "samples": 1}, "--samples 1 must be at least 2"),
        (CurateConfig, {**CURATE, "drop": ("bad",)}, "--drop bad: use some of always_right"),
        (CurateConfig, {**CURATE, "prior": "best"}, "--prior 'best': use one of"),
        (CurateConfig, {**CURATE, "max_completion_tokens": 0}, "--max-completion-tokens 0 must"),
    ],
)
def test_a_mistake_is_told_on_construction(config, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**given)
