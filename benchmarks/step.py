"""A whole GRPO step, ours against TRL's GRPOTrainer on the same work, on a CPU.

    python -m venv trl && trl/bin/pip install -r requirements.txt torch==2.13.0 trl==1.16.0
    trl/bin/python benchmarks/step.py              writes benchmarks/results/step_cpu.json

Both sides sample, score, run the reference and update, one step of each in turn, each in a process
of its own: ours keeps freed memory there as train.py does, TRL's is as TRL leaves it. Before any
time is taken, both get the same completions, with policies moved away from the reference by equal
noise: unless loss, gradient norm and advantages agree to 1e-4 there is no ratio.

Special tokens, the end tokens among them, are never sampled: every completion has the same length.
Ours bans them in the softmax as well, TRL when it samples only (TRL's log-probs leave them out in
the comparison, see `Peer.loss_on`). Encoding the prompts is part of a step on both sides.

The FLOP ideal counts what sharing saves and nothing else, so TRL's other habits can take a ratio
past it: without Triton, that is on a CPU, it runs the output head at prompt positions too.
"""

import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import (
    ROOT,
    THREADS,
    arguments,
    in_a_process,
    peak_mebibytes,
    without_special_tokens,
    write_result,
)
from elsewhere import Elsewhere
from flop_count import forward_flops
from our_step import Ours, prove, spreads, steps_of_ours
from step_cases import CASES, REWARDS, SMOKE, Case, make_checkpoint, make_turns

from models import load_policy


def run_case(case: Case, repeats: int) -> dict[str, Any]:
    """Return the row of one case: the proof, the times, the memory."""
    import trl_peer

    with TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(case, Path(folder))
        turns = make_turns(case, checkpoint, steps=repeats + 1)
        ours = Ours.perturbed(checkpoint, case, turns)
        banned = ours.policy.processor.banned_ids
        given = trl_peer.settings(case, banned)
        peer = trl_peer.Peer.of(checkpoint, turns, REWARDS, given)
        row = {"case": asdict(case), "trl_settings": given, "proof": prove(ours, peer, banned)}
        if not row["proof"]["equal"]:
            return row
        row["flop_ideal"] = round(flop_ideal(ours, row["proof"]["prompt_tokens"]), 2)
        del ours
        our_times: list[dict[str, float]] = []
        # both answer the same questions in the same order; the first step of each is its warm-up
        with Elsewhere(steps_of_ours, checkpoint, case, repeats + 1) as step:
            trl_times = peer.steps(repeats + 1, between=lambda index: our_times.append(step(index)))
        row["trl"] = spreads(trl_times[1:])
        row["ours"] = spreads(our_times[1:])
        row["ratio"] = round(row["trl"]["step"]["median"] / row["ours"]["step"]["median"], 2)
        if case.memory_bar:
            row["peak_mebibytes"] = {
                side: peak_of(side, case, checkpoint) for side in ("ours", "trl")
            }
    return row


def flop_ideal(ours: Ours, prompt_tokens: list[int]) -> float:
    """Return how many times fewer FLOPs a step takes when each prompt and image is run once."""
    case, config = ours.case, ours.policy.model.config
    patches = len(ours.policy.processor.encode("", ours.turns[0].images).pixel_values)
    length = round(sum(prompt_tokens) / len(prompt_tokens))
    sizes = {"N": case.prompts, "G": case.group, "P": length, "C": case.new_tokens, "K": patches}
    return forward_flops(config, shared=False, **sizes) / forward_flops(
        config, shared=True, **sizes
    )


def peak_of(side: str, case: Case, checkpoint: Path) -> float:
    """Return the peak memory, in MiB, of a process that runs two steps of one side only."""
    given = ("--peak-of", side, "--checkpoint", str(checkpoint), "--case-json")
    return round(in_a_process(__file__, *given, json.dumps(asdict(case))), 1)


def print_peak(side: str, case: Case, checkpoint: Path) -> None:
    """Run two steps of one side and print this process's peak memory."""
    turns = make_turns(case, checkpoint, steps=2)
    if side == "ours":
        ours = Ours.perturbed(checkpoint, case, turns)
        for index in range(2):
            ours.step(index)
    else:
        import trl_peer

        banned = without_special_tokens(load_policy(checkpoint).processor).banned_ids
        given = trl_peer.settings(case, banned)
        trl_peer.Peer.of(checkpoint, turns, REWARDS, given).steps(2, between=lambda _index: None)
    print(peak_mebibytes())


def missed_bars(row: dict[str, Any]) -> list[str]:
    """Return what the row fell short of, in words."""
    case, missed = row["case"], []
    if "ratio" not in row:
        return [f"{case['name']}: not the same work, {row['proof']}"]
    if row["ratio"] < case["bar"]:
        missed.append(f"{case['name']}: {row['ratio']} times faster, wanted {case['bar']}")
    if case["memory_bar"] and memory_share(row) > case["memory_bar"]:
        share = f"{memory_share(row):.2f} of TRL's peak memory, wanted {case['memory_bar']:.2f}"
        missed.append(f"{case['name']}: {share}")
    return missed


def memory_share(row: dict[str, Any]) -> float:
    """Return our peak memory over TRL's."""
    return row["peak_mebibytes"]["ours"] / row["peak_mebibytes"]["trl"]


def print_row(row: dict[str, Any]) -> None:
    """Print one case's line, with our parts below it."""
    if "ratio" not in row:
        return
    trl, ours = row["trl"], row["ours"]
    print(
        f"{row['case']['name']:<32} TRL {trl['step']['median']:.3f} s"
        f" (generation {trl['generation']['median']:.3f}), ours {ours['step']['median']:.3f} s:"
        f" {row['ratio']:.2f} times (FLOP ideal {row['flop_ideal']:.2f})"
    )
    parts = ("data", "rollout", "reward", "reference", "update", "other")
    print("    ours: " + ", ".join(f"{part} {ours[part]['median']:.4f}" for part in parts))
    if "peak_mebibytes" in row:
        peaks = row["peak_mebibytes"]
        print(f"    peak MiB: TRL {peaks['trl']}, ours {peaks['ours']}, {memory_share(row):.2f}")


def main() -> None:
    parser = arguments(__doc__, "step_cpu.json")
    parser.add_argument("--case", choices=("all", *CASES), default="all")
    for internal in ("--peak-of", "--checkpoint", "--case-json"):
        parser.add_argument(internal, help="for the processes that measure memory")
    given = parser.parse_args()
    if find_spec("trl") is None:
        print(__doc__.partition("\n\n")[2].partition("\n\n")[0])
        print("TRL is not installed here: make an environment that has it, as above")
        sys.exit(2)
    torch.set_num_threads(THREADS)
    if given.peak_of:
        print_peak(given.peak_of, Case(**json.loads(given.case_json)), Path(given.checkpoint))
        return
    cases = [case for name, group in CASES.items() if given.case in ("all", name) for case in group]
    repeats = 2 if given.smoke else given.repeats
    rows = []
    for case in SMOKE if given.smoke else cases:
        rows.append(run_case(case, repeats))
        print_row(rows[-1])
    from importlib.metadata import version

    peers = {"peer": f"TRL {version('trl')}, GRPOTrainer with HF generate"}
    missed = [text for row in rows for text in missed_bars(row)]
    command = f"python {Path(__file__).relative_to(ROOT)} --case {given.case}"
    write_result(given.output, command, {**peers, "rows": rows, "missed": missed})
    for text in missed:
        print(f"MISSED {text}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
