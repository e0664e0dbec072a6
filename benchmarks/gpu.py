"""Rollout, update and whole step of a 2B model on one GPU: against its limits, HF generate and TRL.

    python benchmarks/gpu.py                      writes benchmarks/results/gpu_<name>.json
    python benchmarks/gpu.py --smoke --device cpu     every line, tiny sizes, nothing written

Qwen2-VL-2B's sizes with random weights, bfloat16, 8 prompts with an image of 384 x 384, 256 new
tokens each (special tokens are never sampled), 8 and 16 completions per prompt, the same bars for
both.

    decode    rollout of all tokens less one of a single token: prefill and first token are left out
    update    the lap of that name in grpo.step.train_step, AdamW included
    TRL       if it is installed; its rollout at once, its update in parts, added up

Work is proven equal in float32 on one prompt, in a process of its own: greedy tokens to HF
generate's, and loss, gradient norm and advantages to TRL's. Without that proof there is no ratio.
"""

import gc
import json
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import (
    ROOT,
    PeakMemory,
    arguments,
    device_slug,
    in_a_process,
    interleaved,
    seconds_of,
    write_result,
)
from flop_count import update_flops
from gpu_bounds import bars, decode_bytes, share_of_bandwidth, share_of_peak
from model_sizes import MODELS, QWEN2_VL_2B
from our_step import Ours, load_pair, prove, spreads
from rollout import HFGenerate, greedy_agree
from step_cases import REWARDS, Case, make_checkpoint, make_turns

from grpo.rollout import sample_rollout
from models.devices import check_device, make_current

CASE = Case("2B", prompts=8, group=8, new_tokens=256, image_size=384, **QWEN2_VL_2B)
SMOKE = Case("smoke", prompts=2, group=2, new_tokens=4, image_size=84, **MODELS["64 x 2"])
PROOF_TOKENS = 16  # of the float32 proof, per completion
TRL_ROWS = 8  # of one of TRL's forwards: all rows and their copies of prompts would not fit


def prove_work(case: Case, checkpoint: Path, device: torch.device) -> dict[str, Any]:
    """Return whether greedy tokens equal HF's, and the comparison with TRL if it is here."""
    case = replace(case, prompts=1, new_tokens=min(PROOF_TOKENS, case.new_tokens))
    turns = make_turns(case, checkpoint, steps=1)
    ours = Ours.perturbed(checkpoint, case, turns, device=device, dtype="float32")
    hf = HFGenerate(checkpoint, ours.reference)
    same = greedy_agree(hf, ours.reference, list(ours.batch(0).prompts), case.new_tokens)
    found: dict[str, Any] = {"greedy_tokens_equal": same, "trl": None}
    del hf
    if find_spec("trl"):
        import trl_peer

        banned = ours.policy.processor.banned_ids
        given = trl_peer.settings(case, banned) | {"use_cpu": device.type == "cpu"}
        given["model_init_kwargs"] = {"dtype": "float32"}
        peer = trl_peer.Peer.of(checkpoint, turns, REWARDS, given)
        found["trl"] = prove(ours, peer, banned)
    return found


def run_case(case: Case, checkpoint: Path, given: Namespace, proof: dict[str, Any]) -> dict:
    """Return the row of one group size."""
    device, repeats = torch.device(given.device), given.repeats
    pair = load_pair(
        checkpoint,
        device=device,
        dtype="bfloat16",
        gradient_checkpointing=given.gradient_checkpointing,
    )
    turns = make_turns(case, checkpoint, steps=repeats + 1)
    ours = Ours(*pair, case, turns, micro_batch_tokens=given.micro_batch_tokens)
    row = {"case": asdict(case)} | rollout_part(ours, checkpoint, repeats, proof)
    peak = PeakMemory(device)
    row |= step_part(ours, checkpoint, repeats, proof)
    if device.type == "cuda":
        row["peak_mebibytes_beyond_start"] = round(peak.mebibytes())
    prompts = ours.batch(0).prompts
    tokens = sum(prompt.num_tokens for prompt in prompts)
    N, G, C = case.prompts, case.group, case.new_tokens
    sizes = {"N": N, "G": G, "C": C, "P": tokens / N, "K": len(prompts[0].pixel_values)}
    text = ours.policy.text.config.to_dict()
    num_bytes = decode_bytes(text, prompt_tokens=tokens, rows=N * G, C=C)
    flops = update_flops(ours.policy.model.config, **sizes)
    update, step = (row["ours"][part]["median"] for part in ("update", "step"))
    return row | {
        "prompt_tokens": [prompt.num_tokens for prompt in prompts],
        "decode_gigabytes": round(num_bytes / 1e9, 3),
        "decode_share_of_bound": share_of_bandwidth(num_bytes, row["decode_seconds"]),
        "update_teraflops": round(flops / 1e12, 3),
        "update_share_of_peak": share_of_peak(flops, update),
        "samples_per_second": N * G / step,
    }


def rollout_part(
    ours: Ours, checkpoint: Path, repeats: int, proof: dict[str, Any]
) -> dict[str, Any]:
    """Return the seconds of prefill, decode and first use, and those of HF generate."""
    policy, case, batch = ours.policy, ours.case, ours.batch(0)
    sampling = ours.config.sampling
    one_token = replace(sampling, max_completion_tokens=1)
    runs = {
        "prefill": lambda: sample_rollout(policy, batch, one_token),
        "rollout": lambda: sample_rollout(policy, batch, sampling),
    }
    if proof["greedy_tokens_equal"]:
        hf = HFGenerate(checkpoint, policy)
        runs["hf_generate"] = lambda: hf.texts(
            hf.inputs(list(batch.prompts), case.group), hf.config(case.new_tokens)
        )
    runs["prefill"]()  # libraries and kernels that are not the decode step's are there from now on
    first = seconds_of(runs["rollout"], policy.device)
    assert bool(runs["rollout"]().completion_mask.all()), "a completion ended early"
    found = interleaved(runs, repeats, device=policy.device)
    median = {name: times["median"] for name, times in found.items()}
    row = {"rollouts": found, "decode_seconds": max(median["rollout"] - median["prefill"], 1e-9)}
    row["decode_tokens_per_second"] = (
        case.prompts * case.group * (case.new_tokens - 1) / row["decode_seconds"]
    )
    row["first_use_seconds"] = max(first - median["rollout"], 0.0)
    if "hf_generate" in median:
        row["times_hf_generate"] = median["hf_generate"] / median["rollout"]
    return row


def step_part(ours: Ours, checkpoint: Path, repeats: int, proof: dict[str, Any]) -> dict[str, Any]:
    """Return the seconds of our steps by part, TRL's in turn with them where it can be run."""
    why = "its work is not proven equal" if proof["trl"] else "it is not installed"
    if proof["trl"] and proof["trl"]["equal"]:
        try:
            return against_trl(ours, checkpoint, repeats)
        except torch.OutOfMemoryError as error:
            why = f"out of memory: {str(error).splitlines()[0]}"
            release()
    alone = [ours.step(index)[1] for index in range(repeats + 1)][1:]
    return {"ours": spreads(alone), "trl_not_measured": why}


def against_trl(ours: Ours, checkpoint: Path, repeats: int) -> dict[str, Any]:
    """Return the seconds of both sides' steps; the first step of each is its warm-up."""
    import trl_peer

    case, policy = ours.case, ours.policy
    rows = min(TRL_ROWS, case.prompts * case.group)
    on_cuda = policy.device.type == "cuda"
    settings = trl_peer.gpu_settings(case, policy.processor.banned_ids, rows, on_cuda)
    peer = trl_peer.Peer.of(checkpoint, ours.turns, REWARDS, settings)
    times: list[dict[str, float]] = []
    theirs = peer.steps(repeats + 1, between=lambda index: times.append(ours.step(index)[1]))
    row = {"ours": spreads(times[1:]), "trl": spreads(theirs[1:]), "trl_settings": settings}
    seconds = {side: row[side]["step"]["median"] for side in ("ours", "trl")}
    row["trl_samples_per_second"] = case.prompts * case.group / seconds["trl"]
    return row | {"times_trl": seconds["trl"] / seconds["ours"]}


def release() -> None:
    """Give back the memory of models that nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def print_row(row: dict[str, Any]) -> None:
    """Print one group size's lines."""
    case, rollouts, ours = row["case"], row["rollouts"], row["ours"]
    print(
        f"\n{case['prompts']} prompts x {case['group']} completions x {case['new_tokens']} tokens"
    )
    for name, found in rollouts.items():
        print(f"    {name:<12}{found['median']:>9.3f} s ({found['min']:.3f} .. {found['max']:.3f})")
    print(f"    decode alone{row['decode_seconds']:>9.3f} s,"
          f" {row['decode_tokens_per_second']:,.0f} tokens a second")  # fmt: skip
    print("    our step    " + ", ".join(f"{part} {found['median']:.3f}"
                                         for part, found in ours.items()))  # fmt: skip
    theirs = f"{row['trl_samples_per_second']:.2f}" if "trl" in row else row["trl_not_measured"]
    print(f"    samples a second: ours {row['samples_per_second']:.2f}, TRL {theirs}")
    for bar in bars(row):
        print(f"    {bar}{'  MISSED' if bar.missed else ''}")


def proven(case: Case, checkpoint: Path, given: Namespace) -> dict[str, Any]:
    """Return `prove_work`'s answer, from a process that gives its float32 models back."""
    if given.smoke:
        return prove_work(case, checkpoint, torch.device(given.device))
    return in_a_process(__file__, "--device", given.device, "--prove", str(checkpoint))


def parse() -> Namespace:
    """Return the flags, or end where they ask for what this machine has not."""
    parser = arguments(__doc__, "gpu.json")
    parser.add_argument("--device", default="cuda", help="a CUDA device; cpu with --smoke only")
    parser.add_argument("--micro-batch-tokens", type=int, default=8192, help="of our update")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="in our update")
    parser.add_argument("--prove", metavar="CHECKPOINT", help="for the process of the proof")
    parser.set_defaults(output=None, repeats=5)
    given = parser.parse_args()
    if given.device == "cpu":
        if not given.smoke:
            parser.error("on a CPU only --smoke --device cpu runs: the bars are a GPU's")
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --smoke --device cpu shows whether it works")
    try:
        check_device(given.device)
    except ValueError as error:
        parser.error(str(error))
    if given.smoke:
        given.repeats = 1
    return given


def main() -> None:
    given = parse()
    device = make_current(torch.device(given.device))
    case = SMOKE if given.smoke else CASE
    if given.prove:
        print(json.dumps(prove_work(case, Path(given.prove), device)))
        return
    with TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(case, Path(folder), torch.bfloat16, given.device)
        proof = proven(case, checkpoint, given)
        print("proof of equal work:", json.dumps(proof))
        rows = []
        for group in (case.group, 2 * case.group):
            rows.append(run_case(replace(case, group=group), checkpoint, given, proof))
            print_row(rows[-1])
            release()
    missed = [f"G = {row['case']['group']}: {bar}"
              for row in rows for bar in bars(row) if bar.missed]  # fmt: skip
    if not proof["greedy_tokens_equal"]:
        missed.append("greedy tokens differ from HF generate's: no ratio")
    if proof["trl"] and not proof["trl"]["equal"]:
        missed.append("loss, gradient norm or advantages differ from TRL's: no ratio")
    if device.type == "cuda" and not given.smoke:
        peer = f"TRL {version('trl')}" if find_spec("trl") else "TRL is not installed"
        content = {"dtype": "bfloat16", "cuda": torch.version.cuda, "peer": peer, "proof": proof}
        content |= {name: getattr(given, name)
                    for name in ("micro_batch_tokens", "gradient_checkpointing")}  # fmt: skip
        name = f"gpu_{device_slug(device)}.json"
        output = given.output or ROOT / "benchmarks" / "results" / name
        write_result(output, "python benchmarks/gpu.py", content | {"rows": rows, "missed": missed})
    for text in missed:
        print(f"MISSED {text}")
    sys.exit(bool(missed) and not given.smoke)


if __name__ == "__main__":
    main()
