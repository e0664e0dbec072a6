"""Qwen2-VL and what it eats: loading, preprocessing, shared-prefix forwards and decode caches."""

from importlib import import_module
from typing import Any

_HOMES = {"load_policy": "models.checkpoint.loading", "Policy": "models.policy"}


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562): `import models` must not load torch and transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
