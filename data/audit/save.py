"""An audit's directory: audit.json and audit.html, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from process.regular import read_bytes
from process.storage import json_text, write_directory


def write_audit(path: Path, report: Mapping[str, Any], page: str) -> None:
    """Write both files, or neither; see `write_directory` for what it raises."""
    text = json_text(report, indent=2)
    write_directory(path, {"audit.json": [text], "audit.html": [page]}, what="the audit")


def read_audit(path: Path) -> dict[str, Any]:
    """Return an earlier audit, given its audit.json or the directory that holds it.

    Raises:
        ValueError: it cannot be read, or is no audit.
    """
    file = path / "audit.json" if path.is_dir() else path
    try:
        report = json.loads(read_bytes(file))
        for pair in report["pairs"].values():
            _ = pair["label"], pair["priors"]["lookup"]["accuracy"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--beside {path} is no audit ({type(error).__name__}: {error}): name the audit.json"
            " that python -m data.audit wrote"
        ) from error
    return report
