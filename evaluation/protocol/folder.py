"""The folder of a protocol: protocol.json and protocol.md, each replaced whole."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.measures.intervals import FEW_IMAGES, RESAMPLES
from evaluation.protocol.arms import read_trained
from evaluation.protocol.protocol_file import ProtocolConfig
from evaluation.protocol.results import axis_json
from evaluation.protocol.schedule import Schedule
from evaluation.report.protocol_markdown import protocol_markdown
from grpo.run.provenance import machine
from process.places import check_own_directory
from process.storage import write_json, write_text

RESULT, PAGE = "protocol.json", "protocol.md"
_ON_THE_WAY = 200  # resamples while cells are missing: many bootstraps, and soon done again


def check_output(output: Path) -> None:
    """Raise for an output folder that is a file, or holds something that is no protocol."""
    check_own_directory(output, RESULT, "protocol")


def write_results(schedule: Schedule) -> dict[str, Any]:
    """Write both files from the cells that are there; return protocol.json."""
    result = protocol_json(schedule)
    write_json(schedule.output / RESULT, result)
    write_text(schedule.output / PAGE, protocol_markdown(result))
    return result


def protocol_json(schedule: Schedule) -> dict[str, Any]:
    """Return protocol.json; see results.py for its keys."""
    config, found = schedule.config, schedule.results()
    runs = [arm.name for arm in schedule.missing_runs()]
    cells = [name for _, name in schedule.missing_cells()]
    resamples = _ON_THE_WAY if runs or cells else RESAMPLES
    return {
        "format": 1,
        "complete": not runs and not cells,
        "resamples": resamples,
        "few_images": FEW_IMAGES,
        "missing": {"runs": runs, "cells": cells},
        "protocol": config_json(config),
        **machine(),
        "runs": [
            {**asdict(arm), **read_trained(arm.path(schedule.output))} for arm in schedule.trained()
        ],
        "axes": {
            axis.name: axis_json(config, axis, found[axis.name], resamples=resamples)
            for axis in config.axes
        },
    }


def config_json(config: ProtocolConfig) -> dict[str, Any]:
    """Return the settings by the TOML file's names, the output folder left out."""
    fields = asdict(config)
    axes = {axis.pop("name"): axis for axis in fields.pop("axes")}
    own = fields.pop("own_settings")
    fields.pop("output_dir")
    fields["file"] = Path(config.file).name
    return {**fields, **axes, "settings": {**fields["settings"], **own}}
