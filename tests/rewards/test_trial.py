"""A user's reward: README's example as it stands, and mistakes that are found before a run."""

import json
import re
import shlex
import tomllib
from dataclasses import dataclass

import pytest
import torch

import grpo.policies
import train
from data.examples import VQAExample
from grpo.advantages import group_advantages
from rewards import REWARDS, load_rewards, try_rewards
from rewards.bound import LARGEST_REWARD
from rewards.trial import FIRST_ROWS, trial_texts
from tests.models.nano import random_image
from tests.places import ROOT
from tests.rewards.alone import load_alone

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Your own reward\n")[2].partition("\n## ")[0]
CODE = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1]
COMMAND = re.search(r"```\n(python train.py .*?)```", SECTION, re.DOTALL)[1]


@dataclass(frozen=True)
class Example:
    id: str
    options: tuple[str, ...] = ("MRI", "CT")
    answer: str = "B"
    modality: str = "CT"
    form: str = "letter"


EXAMPLES = [Example(f"CT_train-{number}") for number in range(9)]
QUESTIONS = [VQAExample("CT_train-0", (), "Which?", ("MRI", "CT"), "B")]


@pytest.fixture
def data(tmp_path):
    """The flags of a tiny run on a few rows in the published format."""
    random_image(80, 60).save(tmp_path / "a.png")
    row = {"image": "a.png", "problem": "Which? A)MRI, B)CT", "solution": "<answer> B </answer>"}
    (tmp_path / "CT_train.json").write_text(json.dumps([row] * 6))
    return [
        *("--model", "tiny", "--train-json", str(tmp_path / "CT_train.json")),
        *("--image-root", str(tmp_path), "--image-size", "56", "--max-completion-tokens", "6"),
        *("--prompts-per-step", "1", "--group-size", "2", "--beta", "0", "--device", "cpu"),
        *("--max-steps", "2", "--output-dir", str(tmp_path / "run")),
    ]


def reward_file(folder, body):
    (folder / "mine.py").write_text(f"calls = 0\n\n\ndef mine(completion, example, mode):\n{body}")
    return f"{folder / 'mine.py'}:mine"


# --- README -------------------------------------------------------------------------------------


def test_readmes_reward_does_what_its_docstring_says(tmp_path):
    (tmp_path / "my_rewards.py").write_text(CODE)
    names = [f"{tmp_path / 'my_rewards.py'}:{name}" for name in ("brief", "names_the_modality")]
    brief, names_it = load_alone(names, "think").values()
    for words, value in ((0, 1), (40, 1), (60, 0.5), (80, 0), (500, 0)):
        assert brief("word " * words, EXAMPLES[0]) == value
    assert names_it("a ct of it", EXAMPLES[0]) == 1 and names_it("an MRI", EXAMPLES[0]) == 0
    try_rewards(load_rewards(names, "think"), EXAMPLES, "think")


@pytest.mark.command
def test_readmes_command_trains_with_it(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rewards.py").write_text(CODE)
    program, script, *flags = shlex.split(COMMAND)
    assert (program, script) == ("python", "train.py")
    assert train.main([*flags, *data]) == 0
    (last,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[1:]
    metrics = json.loads(last)
    parts = [metrics[f"reward/{name}"] for name in ("accuracy", "format", "brief")]
    assert metrics["reward"] == pytest.approx(parts[0] + parts[1] + 0.5 * parts[2])


def test_readmes_function_of_a_whole_step_gets_its_arguments(tmp_path):
    code = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)[1]
    server = "async def ask_server(server, asked):\n    return [len(server)] * len(asked)\n"
    (tmp_path / "my_rewards.py").write_text(server + code)
    tables = tomllib.loads(re.search(r"```toml\n(.*?)```", SECTION, re.DOTALL)[1])
    names = [f"{tmp_path / 'my_rewards.py'}:graded"]
    try_rewards(load_rewards(names, "think", arguments=tables), QUESTIONS, "think")
    graded = load_rewards(names, "think", arguments={"graded": {**tables["graded"], "weight": 2}})
    assert graded["graded"](["a"], QUESTIONS[:1]) == [2.0 * len("http://127.0.0.1:8000")]


def test_readme_names_what_an_example_holds():
    example = VQAExample("a", (), "?", ("x", "y"), "A")
    holds = SECTION.partition("is the question:\n")[2].partition("[data/examples.py]")[0]
    names = re.findall(r"`(\w+)`", holds)
    assert len(names) == 13 and all(hasattr(example, name) for name in names)
    assert f"first {FIRST_ROWS} training rows" in " ".join(SECTION.split())


# --- before the run -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["think", "no_think", "think_after"])
def test_the_trial_writes_nothing_a_right_answer_half_of_it_and_nonsense(mode):
    rewards = load_alone(["accuracy", "format"], mode)
    scores = [[fn(text, EXAMPLES[0]) for fn in rewards.values()] for text in _texts(mode)]
    assert scores == [[0, 0], [1, 1], [0, 0], [0, 0]]


def _texts(mode):
    texts = trial_texts(EXAMPLES[0], mode)
    assert texts[0] == "" and texts[1].startswith(texts[2]) and len(texts) == 4
    return texts


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    return 1 / len(completion)\n", "ZeroDivisionError.*, line 5 of .*mine.py.* for ''"),
        ("    return completion.index('lung')\n", "ValueError: substring not found, line 5"),
        ("    import json\n    return json.loads(completion)\n", "JSONDecodeError.*, line 6 of"),
        ("    return example.label\n", "AttributeError: .* 'label'"),
        ("    if 'answer' in completion:\n        return 1.0\n", "returned None.*without a return"),
        ("    return float('nan')\n", "returned nan"),
        ("    return '1.0'\n", "returned '1.0'"),
        ("    import torch\n    return torch.ones(2)\n", r"return value.item\(\) of .* Tensor"),
        ("    import numpy\n    return numpy.ones(999)\n", r"return value.item\(\) of .* ndarray"),
        ("    return 10 ** 5000\n", "returned a value of type int"),
        (
            "    if not completion.isascii():\n        raise KeyError('x')\n    return 1\n",
            "KeyError",
        ),
        ("    raise SystemExit\n", "SystemExit"),
    ],
)
def test_a_mistake_is_told_before_weights_are_loaded_and_nothing_is_left(
    body, told, data, tmp_path, capsys, monkeypatch
):
    def load(*_arguments, **_options):
        raise AssertionError("weights were loaded first")

    monkeypatch.setattr(grpo.policies, "load_policy", load)
    name = reward_file(tmp_path, body)
    assert train.main([*data, "--rewards", "accuracy", name]) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1 and "Traceback" not in printed
    assert re.search(told, printed)
    assert "mine.py:mine" in printed and "'CT_train-0'" in printed
    assert not (tmp_path / "run").exists()


def test_rewards_are_tried_before_any_image_is_opened(data, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    name = reward_file(tmp_path, "    return None\n")
    assert train.main([*data, "--rewards", name]) == 2
    assert "returned None" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "True",
        "-2.5",
        "numpy.float32(0.5)",
        "numpy.int64(3)",
        "numpy.bool_(1)",
        "numpy.array(2)",
        "numpy.float16(1)",
        "torch.tensor(1.5)",
        "torch.tensor(True)",
        "torch.tensor(0.5, dtype=torch.bfloat16)",
        "Decimal('0.1')",
        "Fraction(1, 3)",
    ],
)
def test_numbers_of_any_kind_are_taken(value, tmp_path):
    name = reward_file(
        tmp_path,
        "    import numpy, torch\n    from decimal import Decimal\n"
        f"    from fractions import Fraction\n    return {value}\n",
    )
    try_rewards(load_rewards([name], "think"), EXAMPLES, "think")
    assert type(load_alone([name], "think")["mine"]("x", EXAMPLES[0])) is float


def test_every_reward_is_called_on_the_first_rows(tmp_path):
    body = "    assert example.id != 'CT_train-3', 'the fourth row'\n    return 0\n"
    rewards = load_rewards(["accuracy", reward_file(tmp_path, body)], "think")
    with pytest.raises(ValueError, match=r"'CT_train-3' .AssertionError: the fourth row"):
        try_rewards(rewards, EXAMPLES, "think")
    try_rewards(rewards, EXAMPLES[:3], "think")


@pytest.mark.command
def test_the_supervised_baseline_calls_none(data):
    flags = [flag for flag in data if flag not in ("--group-size", "2", "--beta", "0")]
    flags = [*flags[: flags.index("--max-steps")], "--max-steps", "1", *flags[-2:]]
    assert train.main([*flags, "--method", "sft"]) == 0


# --- later --------------------------------------------------------------------------------------


@pytest.mark.command
def test_what_fails_in_the_middle_names_function_and_example_and_the_steps_are_saved(
    data, tmp_path, capsys
):
    tried = 4 * FIRST_ROWS
    body = (
        "    global calls\n    calls += 1\n"
        f"    if calls > {tried} + 3:\n        raise RuntimeError('late')\n    return 0.5\n"
    )
    assert train.main([*data, "--rewards", reward_file(tmp_path, body)]) == 2
    printed = capsys.readouterr().err
    assert re.search(r"mine.py:mine' fails on example 'CT_train-\d' .RuntimeError: late", printed)
    assert f"--resume {tmp_path / 'run'}" in printed
    assert (tmp_path / "run" / "checkpoints" / "step-000001").is_dir()


def test_a_protocol_tries_the_rewards_of_all_its_methods_first(tmp_path, capsys):
    name = reward_file(tmp_path, "    return None\n")
    file = tmp_path / "p.toml"
    file.write_text(
        f'model = "tiny"\noutput_dir = "{tmp_path / "out"}"\n'
        'methods = ["sft", "think"]\nsteps = 1\n'
        '[data]\nphantoms = true\n[modality]\nslices = ["CT"]\n'
        f'[settings.grpo]\nrewards = ["{name}"]\n'
    )
    assert train.main(["--protocol", str(file), "--trust-reward-file"]) == 2
    printed = capsys.readouterr().err
    assert "returned None" in printed and "mine.py:mine" in printed
    assert not (tmp_path / "out").exists()


def test_a_tensor_of_one_element_is_no_number_but_one_without_a_dimension_is(tmp_path):
    name = reward_file(tmp_path, "    import torch\n    return torch.ones(len(completion), 1)[0]\n")
    with pytest.raises(ValueError, match=r"value\.item\(\) of this Tensor"):
        load_alone([name], "think")["mine"]("x", EXAMPLES[0])


def test_the_largest_rewards_that_are_taken_still_have_a_spread(monkeypatch):
    monkeypatch.setitem(REWARDS, "mine", lambda text, _example, _mode: LARGEST_REWARD * len(text))
    reward = load_alone(["mine"], "think")["mine"]
    rewards = torch.tensor(
        [[reward("", EXAMPLES[0]), reward("x", EXAMPLES[0])]], dtype=torch.float64
    )
    for scale in ("group", "batch", "none"):
        advantages = group_advantages(rewards, scale=scale)
        assert advantages.isfinite().all() and advantages[0, 1] > 0
        assert advantages.std().isfinite() and (advantages**2).sum().isfinite()
