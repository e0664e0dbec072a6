"""Every test has one tier, and a unit test that is none says so (tests/tiers.py)."""

import pytest

from scripts.structure.owners import find_tests
from tests import tiers
from tests.places import ROOT
from tests.tiers import TIERS, has_no_units

pytest_plugins = "pytester"

MODEL_FILE = """
    import pytest

    pytestmark = pytest.mark.model

    def test_of_a_file(): pass

    @pytest.mark.slow
    def test_of_its_own(): pass

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.command)])
    def test_of_a_parameter(n): pass
"""
# What needs a policy to say anything is left out: the step, likelihoods, a decoder's layer.
MATHS = (
    *("grpo/advantages.py", "grpo/loss.py", "grpo/sampling.py", "grpo/inverse_cdf.py"),
    *("grpo/uniforms.py", "grpo/optimizer", "grpo/metrics.py", "grpo/grounding.py"),
    *("grpo/rollout.py", "models/products.py", "data/options.py", "data/order.py"),
    *("data/sample.py", "data/grouping.py", "rewards", "grpo/logprobs", "evaluation/measures"),
    *("models/shared/lse.py", "models/shared/merged.py", "models/shared/groups.py"),
)
OTHER_FILE = """
    import pytest

    def test_without(): pass

    @pytest.fixture
    def nano_policy(): pass

    def test_with_a_policy(nano_policy): pass
"""
CAUGHT = {
    "starts": "import subprocess\ndef test(): subprocess.run(['true'])",
    "forks": "import os\ndef test(): os.fork()",
    "makes a policy": "from models.policy import Policy\ndef test(): Policy()",
    "asks for nano_policy": (
        "import pytest\n@pytest.fixture\ndef nano_policy(): pass"
        "\n@pytest.mark.unit\ndef test(nano_policy): pass"
    ),
}


def test_every_test_has_one_tier(request):
    for item in request.session.items:
        own = [mark.name for mark in item.iter_markers() if mark.name in TIERS]
        assert len(own) == 1, f"{item.nodeid}: {own}"


@pytest.mark.parametrize("place", MATHS)
def test_every_file_of_maths_has_unit_tests(place):
    files = sorted((ROOT / place).glob("*.py")) if (ROOT / place).is_dir() else [ROOT / place]
    for file in files:
        tests = find_tests(ROOT, file.relative_to(ROOT).as_posix())
        places = [ROOT / test for test in tests if test.startswith("tests/")]
        tests = [test for one in places for test in ([one] if one.is_file() else one.glob("*.py"))]
        assert not all(map(has_no_units, tests)), f"no unit test of {file.relative_to(ROOT)}"


@pytest.fixture
def beside(pytester):
    """A folder of tests with the project's own conftest.py."""
    pytester.makeconftest((ROOT / "conftest.py").read_text(encoding="utf-8"))
    return pytester


def test_the_nearest_mark_counts(beside):
    beside.makepyfile(test_of_models=MODEL_FILE, test_others=OTHER_FILE)
    items, _ = beside.inline_genitems()
    tiers = {item.name: [m.name for m in item.iter_markers() if m.name in TIERS] for item in items}
    assert tiers == {
        "test_of_a_file": ["model"],
        "test_of_its_own": ["slow"],
        "test_of_a_parameter[1]": ["model"],
        "test_of_a_parameter[2]": ["command"],
        "test_without": ["unit"],
        "test_with_a_policy": ["model"],
    }


def test_units_alone_leave_other_files_unread(beside):
    beside.makepyfile(test_of_models=MODEL_FILE + "\n    raise ImportError", test_others=OTHER_FILE)
    items, _ = beside.inline_genitems("-m", "unit")
    assert {item.name for item in items} == {"test_without", "test_with_a_policy"}


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=pytest.mark.model) if "policy" in what else what for what in CAUGHT],
)
def test_a_unit_test_that_is_none_fails_with_what_it_did(beside, what):
    beside.makepyfile(CAUGHT[what])
    result = beside.runpytest_inprocess()
    assert what in result.stdout.str() and "mark it (@pytest.mark.model" in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("tier", sorted(set(TIERS) - {"unit"}))
def test_other_tiers_may(beside, tier):
    beside.makepyfile(
        f"import pytest, subprocess\n@pytest.mark.{tier}\ndef test(): subprocess.Popen.__init__"
    )
    beside.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("text", "none"),
    [
        ("pytestmark = pytest.mark.model\n", True),
        ("pytestmark = pytest.mark.unit\n", False),
        ("pytestmark = pytest.mark.model\n@pytest.mark.unit\ndef test(): pass\n", False),
        ("def test(): pass\n", False),
        ("pytestmark = pytest.mark.gpu\n", False),
    ],
)
def test_a_files_text_says_whether_it_has_units(tmp_path, text, none):
    file = tmp_path / "test_it.py"
    file.write_text(text, encoding="utf-8")
    assert has_no_units(file) is none


def test_the_whole_commands_are_commands_unless_they_say_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(tiers, "ROOT", tmp_path)
    folder = tmp_path / "tests" / "whole"
    folder.mkdir(parents=True)
    for name, text in (("test_a.py", ""), ("test_b.py", "pytestmark = pytest.mark.unit\n")):
        (folder / name).write_text(text, encoding="utf-8")
    assert has_no_units(folder / "test_a.py") and not has_no_units(folder / "test_b.py")
