"""A library that is missing, or does not run here, is one error that says what to do."""

import sys
from types import SimpleNamespace

import pytest
import torch

from grpo.moments.library import bitsandbytes_functions


def test_a_missing_one_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    with pytest.raises(ValueError, match=r"adamw_8bit needs .*pip install 'bitsandbytes"):
        bitsandbytes_functions("cpu")


def stand_in(monkeypatch, update) -> None:
    """Put a library there whose update is another."""
    functions = SimpleNamespace(
        create_dynamic_map=lambda signed: torch.zeros(256) + signed,
        optimizer_update_8bit_blockwise=update,
    )
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(functional=functions))
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", functions)


@pytest.mark.parametrize("wrong", ["raises", "does nothing"])
def test_kernels_that_do_not_run_are_told_before_the_run(monkeypatch, wrong):
    def update(*_, **__) -> None:
        if wrong == "raises":
            raise RuntimeError("no kernel image\nfor this device")

    stand_in(monkeypatch, update)
    reason = "no kernel image" if wrong == "raises" else "an update gave 1.0, not 0.5"
    with pytest.raises(ValueError, match=rf"does not run on cpu \({reason}\)"):
        bitsandbytes_functions("cpu")
