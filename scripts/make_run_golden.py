"""Write tests/golden/run.json: what three steps of the default run did on the day it was written.

    python scripts/make_run_golden.py

A change that moves these numbers is either a mistake or a decision: run this again only for the
latter, and say in the commit what moved and why. No loss is in it: on a first pass it is about 0.
"""

import hashlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

STEPS = 3
FLAGS = ("--max-steps", str(STEPS), "--eval-limit", "40", "--device", "cpu", "--seed", "0")
KEPT = ("reward", "reward/accuracy", "kl", "entropy", "grad_norm", "completion_tokens")


def golden_run(folder: Path) -> dict:
    """Run the command in this process and return its numbers."""
    import train

    out = folder / "run"
    assert train.main([*FLAGS, "--output-dir", str(out)]) == 0
    with (out / "metrics.jsonl").open(encoding="utf-8") as lines:
        metrics = [{name: json.loads(line)[name] for name in KEPT} for line in lines]
    with (out / "rollouts.jsonl").open(encoding="utf-8") as lines:
        texts = [(row["step"], row["completion"]) for row in map(json.loads, lines)]
    digests = [
        hashlib.sha256("\n".join(text for number, text in texts if number == step).encode())
        for step in range(1, STEPS + 1)
    ]
    evaluation = json.loads((out / "eval" / f"step-{STEPS:06d}.json").read_text(encoding="utf-8"))
    return {
        "flags": list(FLAGS),
        "metrics": metrics,
        "completions": [digest.hexdigest() for digest in digests],
        "accuracy_after": evaluation["overall"]["accuracy"],
    }


def main() -> None:
    with TemporaryDirectory() as folder:
        golden = golden_run(Path(folder))
    file = ROOT / "tests" / "golden" / "run.json"
    file.write_text(json.dumps(golden, indent=2) + "\n", encoding="utf-8")
    print(f"{file.relative_to(ROOT)}: {golden}")


if __name__ == "__main__":
    main()
