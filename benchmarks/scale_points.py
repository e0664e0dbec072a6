"""The cost model beside steps that were measured before: the rows of a result file of growth.py.

    python benchmarks/scale_points.py                      benchmarks/results/growth_cpu.json
    python benchmarks/scale_points.py --points FILE

That file has the speed of one large product and of one large copy, taken in the same run. Here they
are all that is known of the machine: what is predicted is the time at that speed, with nothing for
the cost of an operation as such, which only benchmarks/scale.py measures.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, TINY
from model_sizes import MODELS
from scale import PHASES, Prediction

from process.tables.markdown import markdown_table
from process.tables.value import Table, columns_of
from scripts.scale.sizes import Sizes, sizes_of
from scripts.scale.workload import Workload

WHOLE_BATCH = 1 << 20


@dataclass(frozen=True)
class FlatRates:
    """A machine of which two numbers are known."""

    flops: float
    copy: float
    overhead: float = 0.0

    def product(self, *_: Any, **__: Any) -> float:
        """Return the same for every shape."""
        return self.flops


def predicted(row: dict[str, Any], speed: dict[str, float]) -> dict[str, float]:
    """Return the seconds of the phases of one measured row."""
    sizes, weights = model_of(row["model"])
    work = Workload(
        **{"N": row["N"], "G": row["G"], "P": row["prompt_tokens"], "C": row["C"]},
        K=4 * row["image_tokens"],
        budget=WHOLE_BATCH,
        checkpointing=False,
        varlen=False,
    )
    rates = FlatRates(speed["flops_per_second"], speed["bytes_per_second"])
    return Prediction(sizes, work, rates, weights).seconds(Counter())


def model_of(name: str) -> tuple[Sizes, int]:
    """Return the sizes of a model of growth.py, and its count of weights."""
    from transformers import AutoConfig

    from models.memory import weightless

    given = json.loads((TINY / "config.json").read_text())
    dims = MODELS[name]
    given["text_config"] |= dims["text"] or {}
    given["text_config"].pop("layer_types")
    given["vision_config"] |= (dims["vision"] or {}) | {
        "hidden_size": given["text_config"]["hidden_size"]
    }
    kind = given.pop("model_type")
    config = AutoConfig.for_model(kind, **given)
    model = weightless(config)
    return sizes_of(config), sum(weight.numel() for weight in model.parameters())


def table(points: dict[str, Any]) -> Table:
    """Return predicted beside measured seconds of every row that was a whole step, each once."""
    lines: dict[tuple, list[str]] = {}
    for row in (row for factor in points["factors"] for row in factor["rows"]):
        if row["work"] != "step":
            continue
        shape = f"{row['N']} x {row['G']} x {row['prompt_tokens']} x {row['C']}"
        line = [row["model"], shape]
        for phase, seconds in predicted(row, points["speed"]).items():
            line += [f"{seconds:.3f}", f"{row[phase]:.3f}", f"{seconds / row[phase]:.2f}"]
        lines[row["model"], shape] = line
    heads = ["model", "N x G x P x C"]
    heads += [f"{phase}, {kind}" for phase in PHASES for kind in ("predicted", "measured", "ratio")]
    return Table(columns_of(heads, text=(0, 1)), list(lines.values()))


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ROOT / "benchmarks" / "results" / "growth_cpu.json"
    parser.add_argument("--points", type=Path, default=default, help="result file of growth.py")
    points = json.loads(parser.parse_args().points.read_text())
    print(markdown_table(table(points)))


if __name__ == "__main__":
    main()
