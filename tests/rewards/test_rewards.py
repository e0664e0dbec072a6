"""Rewards and their registry: what is paid for, and what stops a run."""

import math
import sys
from dataclasses import dataclass

import pytest

from rewards import REWARDS, ParseOnce, accuracy_reward, format_reward
from tests.rewards.alone import load_alone


@dataclass(frozen=True)
class Example:
    """What a reward may read of an example; the real class needs Pillow."""

    id: str = "CT_test-17"
    options: tuple[str, ...] = ("MRI", "PET", "CT")
    answer: str = "C"
    form: str = "letter"


THINK_C = "<think>a round slice</think><answer>C</answer>"


def test_worked_example():
    # right and well formed; wrong but well formed; right but hedged; right but chatty
    completions = [
        "<answer>C</answer>",
        "<answer>B</answer>",
        "<answer>C or B</answer>",
        "I think <answer>C</answer>",
    ]
    accuracy = [accuracy_reward(text, "C", "no_think") for text in completions]
    form = [format_reward(text, "no_think") for text in completions]
    assert accuracy == [1.0, 0.0, 0.0, 0.0]
    assert form == [1.0, 1.0, 0.0, 0.0]


def test_options_decide_what_text_may_stand_behind_the_letter():
    text = "<answer>C)CT</answer>"
    assert accuracy_reward(text, "C", "no_think", Example.options) == 1.0
    assert accuracy_reward(text, "C", "no_think", ("MRI", "CT", "PET")) == 0.0
    assert accuracy_reward(text, "C", "no_think") == format_reward(text, "no_think") == 0.0


def test_a_letter_beyond_the_options_is_not_well_formed():
    assert format_reward("<answer>D</answer>", "no_think", Example.options) == 0.0
    assert format_reward("<answer>D</answer>", "no_think") == 1.0


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        ("", (), "one letter from A to Z, got ''"),
        ("c", (), "got 'c'"),
        ("CT", (), "got 'CT'"),
        ("AB", ("MRI", "CT"), "from A to B, got 'AB'"),
        ("Ｃ", (), "got 'Ｃ'"),
        ("D", Example.options, "from A to C, got 'D': correct the data set"),
    ],
)
def test_a_malformed_answer_key_stops_instead_of_scoring(answer, options, message):
    with pytest.raises(ValueError, match=message):
        accuracy_reward("<answer>C</answer>", answer, "no_think", options)


# --- the registry -------------------------------------------------------------------------------


def test_registered_rewards_come_in_the_order_named_with_the_mode_bound():
    rewards = load_alone(["format", "accuracy"], "think")
    assert list(rewards) == ["format", "accuracy"]
    completions = [THINK_C, THINK_C.replace("C</", "A</"), "<answer>C</answer>"]
    scores = [[reward(text, Example()) for reward in rewards.values()] for text in completions]
    assert scores == [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    assert load_alone(["accuracy"], "no_think")["accuracy"]("<answer>C</answer>", Example()) == 1


def write(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_function_is_known_by_its_name_and_gets_all_three_arguments(tmp_path):
    path = write(
        tmp_path,
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Score:\n    value: 'float'\n"  # dataclasses look their module up
        "def brevity(completion, example, mode):\n"
        "    return Score(len(completion) + len(example.options) + len(mode)).value\n"
        "def zero(completion, example, mode):\n    return False\n",
    )
    rewards = load_alone([f"{path}:brevity", "accuracy", f"{path}:zero"], "think")
    assert list(rewards) == ["brevity", "accuracy", "zero"]
    assert rewards["brevity"]("abcd", Example()) == 4 + 3 + 5
    assert rewards["zero"]("abcd", Example()) == 0.0


def test_a_users_file_shadows_no_module_and_is_read_anew(tmp_path):
    import json  # the name the user's file has too

    path = write(tmp_path, "def one(c, e, m): return 1.0", name="json.py")
    assert load_alone([f"{path}:one"], "think")["one"]("", Example()) == 1.0
    assert sys.modules["json"] is json
    write(tmp_path, "def one(c, e, m): return 1.5  # longer", name="json.py")
    assert load_alone([f"{path}:one"], "think")["one"]("", Example()) == 1.5


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no reward functions given: name at least one of accuracy, format"),
        (["acuracy"], r"unknown reward 'acuracy': use one of .* or path.py:function"),
        (["mine.py"], "unknown reward 'mine.py'"),
        (["format", "format"], "two reward functions are called 'format'"),
        (["nowhere/mine.py:fn"], r"there is no file .*mine\.py: check the path"),
        (["{tmp}/mine.py:fnn"], "defines no function 'fnn': check its spelling"),
        (["{tmp}/mine.py:"], "defines no function ''"),
        (["{tmp}/mine.py:constant"], "defines no function 'constant'"),
        (["{tmp}/mine.py:fn", "{tmp}/mine.py:fn"], "two reward functions are called 'fn'"),
        (["accuracy", "{tmp}/mine.py:accuracy"], "two reward functions are called 'accuracy'"),
        (["{tmp}/mine.py:two"], r"cannot be called as fn\(completion, example, mode\)"),
        (["{tmp}/broken.py:fn"], r"broken.py fails while it is loaded \(SyntaxError"),
        (["{tmp}/absent.py:fn"], "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_the_error_says_what_was_wrong(tmp_path, names, message):
    write(
        tmp_path,
        "constant = 3\ndef fn(completion, example, mode): return 0.0\n"
        "def two(completion, example): return 0.0\naccuracy = fn\n",
    )
    write(tmp_path, "def fn(:\n", name="broken.py")
    write(tmp_path, "import no_such_module\n", name="absent.py")
    with pytest.raises(ValueError, match=message):
        load_alone([name.format(tmp=tmp_path) for name in names], "think")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="unknown mode 'hum'"):
        load_alone(["accuracy"], "hum")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (10**400, "1000"),
        (None, "None"),
        ("1.0", "'1.0'"),
        ([1.0], r"\[1.0\]"),
        (1j, "1j"),
    ],
)
def test_a_reward_that_is_no_finite_number_stops_the_run(monkeypatch, value, shown):
    monkeypatch.setitem(REWARDS, "mine", lambda _completion, _example, _mode: value)
    reward = load_alone(["mine"], "think")["mine"]
    with pytest.raises(ValueError, match=rf"reward 'mine' returned {shown}.* 'CT_test-17'.*finite"):
        reward(THINK_C, Example())


def test_a_reward_that_fails_is_named_with_its_example_and_cause(tmp_path):
    path = write(tmp_path, "def fn(completion, example, mode):\n    return 1 / 0\n")
    reward = load_alone([f"{path}:fn"], "think")["fn"]
    message = r"mine.py:fn' fails on example 'CT_test-17' \(ZeroDivisionError.* line 2 of .*mine.py"
    with pytest.raises(ValueError, match=message) as caught:
        reward(THINK_C, Example())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_wrong_answer_key_is_named_with_its_example():
    reward = load_alone(["accuracy"], "think")["accuracy"]
    with pytest.raises(ValueError, match=r"'CT_test-17'.*'D' is not the letter of one of the 3"):
        reward(THINK_C, Example(answer="D"))


@pytest.mark.parametrize(
    ("value", "weight", "shown"),
    [
        (1e308, 1.0, r"1e\+308 .*its weight 1 that is beyond 1e\+18"),
        (-2e18, 1.0, r"-2e\+18 .*beyond 1e\+18"),
        (10**30, 1.0, "1000000000000000000000000000000 .*beyond"),
        (1.0, 1e19, r"1\.0 .*its weight 1e\+19 that is beyond .*smaller weight"),
        (1e300, 1e300, r"1e\+300 .*its weight 1e\+300"),
    ],
)
def test_a_reward_too_large_to_be_compared_is_blamed_with_its_weight(
    monkeypatch, value, weight, shown
):
    """Their spread would overflow, and every advantage silently be 0."""
    monkeypatch.setitem(REWARDS, "mine", lambda _completion, _example, _mode: value)
    reward = load_alone(["mine"], "think", weights=[weight])["mine"]
    with pytest.raises(ValueError, match=rf"reward 'mine' returned {shown}") as caught:
        reward(THINK_C, Example())
    assert "'CT_test-17'" in str(caught.value) and "every advantage would be 0" in str(caught.value)


def test_functions_of_ones_own_are_named_apart_from_ours_and_as_python_names():
    def length(completion, example, mode):
        return float(len(completion) + len(example.options) + len(mode))

    bound = load_alone(["accuracy", "length"], "think", own={"length": length})
    assert bound["length"]("abcd", Example()) == 4 + 3 + 5
    for name in ("accuracy", "no name"):
        with pytest.raises(ValueError, match=f"own reward function '{name}': call it otherwise"):
            load_alone([name], "think", own={name: length})


def test_a_function_that_tells_no_arguments_is_taken_and_one_with_others_is_not():
    def two(completion, example):
        return float(len(completion) + len(example.options))

    # written in C: some of these tell no signature, so they are tried at the first row
    assert list(load_alone(["largest"], "think", own={"largest": max})) == ["largest"]
    with pytest.raises(ValueError, match=r"'two' cannot be called as fn\(completion, "):
        load_alone(["two"], "think", own={"two": two})


def test_what_is_forgotten_is_read_anew():
    parse = ParseOnce()
    first = parse("<answer>B</answer>", "no_think", ("CT", "MRI"))
    parse.forget()
    again = parse("<answer>B</answer>", "no_think", ("CT", "MRI"))
    assert again == first
    assert again is not first
