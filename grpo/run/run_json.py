"""What a run that goes on reads from its run.json, and what kind each of it is."""

from collections.abc import Mapping
from typing import Any

_KEYS = {"config": dict, "checksums": dict, "prompt_template": str, "resumed": list}
# of every version: the other settings have had defaults since
_SETTINGS = {"model": str, "train_json": list, "rewards": list}
# by part of the data; earlier versions did not note them
_BY_PART = {"id_stems": list, "left_out": dict, "skipped_rows": int}


def check_run_json(description: Any) -> None:
    """Raise unless run.json has what a run needs to go on.

    Raises:
        ValueError: naming the first key that is missing, or of another kind.
    """
    _check("run.json", description, {})
    _check("run.json", description, _KEYS)
    _check("config", description["config"], _SETTINGS)
    for name, kind in _BY_PART.items():
        by_part = description.get(name, {})
        _check(name, by_part, dict.fromkeys(by_part, kind) if isinstance(by_part, dict) else {})


def _check(name: str, found: Any, kinds: Mapping[str, type]) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds no object")
    for key, kind in kinds.items():
        if key not in found:
            raise ValueError(f"{name} has no {key}")
        if not isinstance(found[key], kind):
            raise ValueError(f"{key} of {name} is no {kind.__name__}")
