"""Every entry of a table says what it returns, in which shape, where from, and shows an example."""

import inspect
import re

import pytest

from grpo import advantages, overlong
from grpo.advantages import BASELINES, SPREADS
from grpo.objectives import divergence, entropy, enumerated, factors, ratio, surrogate
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.ratio import RATIO_LEVELS
from grpo.objectives.surrogate import SURROGATES

MODULES = [advantages, overlong, divergence, entropy, enumerated, factors, ratio, surrogate]
PUBLIC = [
    function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
]
TABLES = [BASELINES, SPREADS, RATIO_LEVELS, SURROGATES, KL_ESTIMATORS]
ENTRIES = [function for table in TABLES for function in table.values()]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_what_is_computed_has_its_shape_and_a_worked_example(function):
    text = inspect.getdoc(function) or ""
    assert text.startswith("Return ") and ">>> " in text
    assert re.search(r"\((M|B|N)?(, \w+)*,?\)|shape", text), "no shape"


@pytest.mark.parametrize("function", ENTRIES, ids=lambda function: function.__name__)
def test_an_entry_says_where_it_is_from(function):
    text = (inspect.getdoc(function) or "") + (inspect.getmodule(function).__doc__ or "")
    assert "arXiv:" in text or "Source: " in text
