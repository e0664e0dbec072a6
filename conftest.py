"""The tiers of all tests, the examples in the packages' docstrings among them: tests/tiers.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiers


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test its tier."""
    tiers.assign(items)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files of other tiers unread where only unit tests are asked for."""
    only_units = config.option.markexpr == "unit"
    return True if only_units and tiers.has_no_units(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Hold what a unit test's fixtures do to its tier."""
    with tiers.held_to_its_tier(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hold what a unit test itself does to its tier."""
    with tiers.held_to_its_tier(item):
        return (yield)
