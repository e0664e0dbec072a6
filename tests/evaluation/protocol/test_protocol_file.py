"""A protocol's TOML file: what it says, and what is wrong with it in one message."""

import pytest

import train
from evaluation.protocol.arms import Arm, all_arms, arm_config
from evaluation.protocol.protocol_file import read_protocol
from tests.places import ROOT

GOOD = """
model = "tiny"
output_dir = "out"
steps = 2
[data]
phantoms = true
[modality]
slices = ["CT", "MRI"]
"""


def written(tmp_path, text):
    file = tmp_path / "p.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", ["phantoms", "smoke", "med_r1"])
def test_the_shipped_files_parse_and_every_arm_has_a_valid_config(name):
    config = read_protocol(ROOT / "configs" / f"protocol_{name}.toml")
    for arm in all_arms(config):
        made = arm_config(config, arm, "phantoms:CT")
        assert (made.seed, made.mode, made.eval_json) == (arm.seed, arm.mode, ())
        assert made.method == ("sft" if arm.method == "sft" else "grpo")


def test_the_phantom_protocol_is_what_the_issue_asks_for():
    config = read_protocol(ROOT / "configs" / "protocol_phantoms.toml")
    arms = all_arms(config)
    assert len(arms) == 8 * 4 + 3 * 4 * 2 + 5 * 4
    assert {arm.seed for arm in arms if arm.axis == "question_type"} == {0}
    assert {arm.seed for arm in arms[: 8 * 4 + 5 * 4]} == {0}  # a whole first seed comes first
    assert len({arm.slice for arm in arms if arm.seed == 2}) == 3


def test_med_r1_keeps_its_own_settings():
    config = read_protocol(ROOT / "configs" / "protocol_med_r1.toml")
    made = arm_config(config, Arm("modality", "CT", "think", 0), "CT_train.json")
    assert (made.prompts_per_step, made.group_size, made.epochs) == (4, 4, 1)
    assert (made.learning_rate, made.beta, made.max_completion_tokens) == (1e-6, 0.04, 256)
    assert (made.image_size, made.lr_schedule, made.max_steps) == (384, "linear", 0)


def test_a_small_file_takes_the_defaults(tmp_path):
    config = read_protocol(written(tmp_path, GOOD))
    assert config.methods == ("sft", "think", "no_think", "think_after")
    assert config.zero_shot == ("think", "no_think", "think_after")
    (axis,) = config.axes
    assert axis.train_slices == axis.repeat_slices == ("CT", "MRI")
    assert config.test_limit is None and config.settings["keep_checkpoints"] == 1


def test_slices_go_by_their_published_spellings(tmp_path):
    text = GOOD.replace('"CT", "MRI"', '"ct", "MR (Mag-netic Resonance Imaging)"')
    assert read_protocol(written(tmp_path, text)).axes[0].slices == ("CT", "MRI")


def test_own_settings_lie_over_the_common_ones_and_sft_drops_what_it_does_not_use(tmp_path):
    text = GOOD + "[settings]\nbeta = 0.1\ngroup_size = 2\n[settings.sft]\nlearning_rate = 0.5\n"
    config = read_protocol(written(tmp_path, text))
    assert config.settings_of("sft") == {"keep_checkpoints": 1, "learning_rate": 0.5}
    assert config.settings_of("think") == {"keep_checkpoints": 1, "beta": 0.1, "group_size": 2}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 2", "stepz = 2", "unknown key 'stepz': is it steps?"),
        ("steps = 2", "", "steps or epochs says how long each run is"),
        ("steps = 2", "steps = 2\nepochs = 1", "steps or epochs says how long"),
        ("steps = 2", 'steps = "2"', "steps='2' must be of type int"),
        ("steps = 2", "steps = -2", "steps=-2 must be at least 0"),
        ('model = "tiny"', "", "model is empty or missing: name one"),
        ('"CT", "MRI"', "", "[modality] slices=[] is empty: list at least one"),
        ('"MRI"', '"MRT"', "[modality] slices holds 'MRT' (is it MRI?): use some of CT, MRI"),
        ('"MRI"', '"Lesion Grading"', "[modality] slices holds 'Lesion Grading'"),
        ('"MRI"', '"CT"', "[modality] slices names 'CT' twice"),
        ("[modality]", "[modalities]", "unknown key 'modalities': is it modality?"),
        ("[modality]", "[modality]\nseeds = 1", "[modality] unknown key 'seeds'"),
        ("[modality]", '[modality]\ntrain_slices = ["OCT"]', "train_slices holds 'OCT'"),
        ("[modality]", '[modality]\nrepeat_slices = ["OCT"]', "repeat_slices holds 'OCT'"),
        ("steps = 2", 'steps = 2\nmethods = ["thinks"]', "methods holds 'thinks' (is it think?)"),
        ("steps = 2", "steps = 2\nseeds = []", "seeds=[] is empty"),
        ("steps = 2", "steps = 2\nseeds = [-1]", "seeds holds -1: use whole numbers from 0"),
        ("phantoms = true", "", "[data] train_dir, test_dir, image_root missing"),
        ("phantoms = true", 'phantoms = true\ntrain_dir = "x"', "needs no folders"),
        (
            "[data]",
            "[settings]\ngroupsize = 3\n[data]",
            "unknown key 'groupsize': is it group_size?",
        ),
        ("[data]", "[settings]\nseed = 3\n[data]", "seed=3: list it in seeds"),
        ("[data]", "[settings]\neval_every = 3\n[data]", "nothing is evaluated during training"),
        ("[data]", "[settings.sft]\nbeta = 1\n[data]", "[settings.sft] beta: not used by sft"),
        (
            "[data]",
            "[settings.sft]\nprompts_per_step = 1\n[data]",
            "[settings.sft] prompts_per_step=1: all arms share it",
        ),
        ("[data]", "[settings]\ngroup_size = 1\n[data]", "group_size=1 must be at least 2"),
        ("steps = 2", "steps = ", "is not TOML"),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_is_written(
    tmp_path, capsys, monkeypatch, old, new, message
):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, GOOD.replace(old, new, 1))
    assert train.main(["--protocol", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: protocol {file}")
    assert message in error
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("key", ["model", "output_dir"])
def test_what_is_missing_is_said_once(tmp_path, key):
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(key))
    for lacking in (text, f'{key} = ""\n{text}'):
        with pytest.raises(ValueError, match=f"{key} is empty or missing: name one") as caught:
            read_protocol(written(tmp_path, lacking))
        assert str(caught.value).count("\n  - ") == 1


def test_the_flag_takes_the_place_of_a_missing_output_dir(tmp_path):
    text = GOOD.replace('output_dir = "out"\n', "")
    assert read_protocol(written(tmp_path, text), "elsewhere").output_dir == "elsewhere"
    assert read_protocol(written(tmp_path, GOOD), "elsewhere").output_dir == "elsewhere"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "1"], "--seed cannot be given with --protocol"),
        (["--resume", "x"], "--resume cannot be given with --protocol"),
        (["--config", "x", "--group-size", "4"], "--config, --group-size cannot be given"),
    ],
)
def test_other_flags_beside_it_are_refused(tmp_path, capsys, flags, message):
    assert train.main(["--protocol", str(written(tmp_path, GOOD)), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "allowed: --output-dir, --device, --dtype" in error


def test_several_problems_are_told_at_once(tmp_path):
    text = GOOD.replace("steps = 2", "stepz = 2").replace('"MRI"', '"MRT"')
    with pytest.raises(ValueError) as caught:
        read_protocol(written(tmp_path, text))
    assert str(caught.value).count("\n  - ") == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ([], "train_dir = '{tmp}/train' is not a folder"),
        (["train/CT_train.json", "test/CT_test.json"], "names MRI, and {tmp}/test holds no file"),
        (
            ["train/", "test/CT_test.json", "test/ct_test.json", "test/MRI_test.json"],
            "holds 2 files of CT",
        ),
    ],
)
def test_missing_and_double_files_are_named(tmp_path, capsys, make, message):
    for name in make:
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.mkdir(exist_ok=True) if name.endswith("/") else place.write_text("[]")
    if not make:
        (tmp_path / "test").mkdir()
        for name in ("CT", "MRI"):
            (tmp_path / "test" / f"{name}_test.json").write_text("[]")
    folders = [f'{key} = "{tmp_path}/{key[:-4]}"' for key in ("train_dir", "test_dir")]
    data = "\n".join([*folders, f'image_root = "{tmp_path}"'])
    file = written(tmp_path, GOOD.replace("phantoms = true", data))
    assert train.main(["--protocol", str(file), "--output-dir", str(tmp_path / "out")]) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
