"""Made-up answers, and what evaluations, matrices, protocols, runs and audits make of them."""

import json
import random
from pathlib import Path
from typing import Any

from data.audit.audited import read_files
from data.audit.findings import audit
from data.splits import comparison
from evaluation.answers.prediction import Prediction
from evaluation.curate.effect import summarize_curation
from evaluation.curate.effect_text import curation_table
from evaluation.curate.reasons import CuratedRow
from evaluation.matrix_json import control_json, matrix_json
from evaluation.measures.gains import paired_gain, summarize_control
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.summary import accuracy_of, summarize
from evaluation.measures.thought_changes import ThoughtRow, summarize_changes
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.protocol.results import axis_json
from process.tables.text import titled_text
from tests.data.audit.test_hashes import picture
from tests.data.audit_rows import example, row, write_rows
from tests.evaluation.protocol import test_protocol_results as protocol

KINDS = ("CT", "MRI", "Fundus")
TYPES = ("Disease Diagnosis", "Other Biological Attributes")


def answers(seed: int, share: float, count: int = 60, **changes: Any) -> list[Prediction]:
    """Return answers of which about a share is right; two neighbours share an image."""
    rng = random.Random(seed)
    return [_answer(number, rng, share, changes) for number in range(count)]


def _answer(number: int, rng: random.Random, share: float, changes: dict[str, Any]) -> Prediction:
    options = ("a cyst", "a stone", "no finding", "a bleeding")[: 2 + 2 * (number % 3 > 0)]
    right, formed, sure = rng.random() < share, rng.random() < 0.9, 0.4 + 0.5 * rng.random()
    letter = "A" if right else "B"
    rest = (1 - sure) / (len(options) - 1)
    thought = rng.choice(["a cyst is seen", "round", "", "a cyst or a stone"])
    fields: dict[str, Any] = {
        "id": f"row-{number}",
        "images": (f"image-{number // 2}.png",),
        "modality": KINDS[number % 3],
        "question_type": TYPES[number % 7 == 0],
        "dataset": "made up",
        "question": f"What is seen in picture {number}?",
        "options": options,
        "permutation": tuple(range(len(options))),
        "answer": "A",
        "completion": f"<think>{thought}</think><answer>{letter}</answer>",
        "choice": letter if formed else None,
        "lenient_choice": letter,
        "well_formed": formed,
        "correct": right and formed,
        "lenient_correct": right,
        "completion_tokens": 5 + number % 4,
        "truncated": number % 11 == 0,
        "letter_probabilities": {
            name: sure if name == letter else rest for name in "ABCD"[: len(options)]
        },
        "letter_mass": 0.3 if number % 13 == 0 else 0.95,
        "control": None,
        "unanswered": "the image is gone" if number == 7 else None,
    }
    return Prediction(**{**fields, **changes})


def thought_rows() -> list[ThoughtRow]:
    """Return answers read under other thoughts; some letters are hardly ever written."""
    rng = random.Random(3)
    rows = []
    for number in range(40):
        names = ("own", "removed") if number % 9 == 0 else ("own", "removed", "swapped")
        letters = {name: {"A": (share := rng.random()), "B": 1 - share} for name in names}
        masses = {name: 0.2 if rng.random() < 0.1 else 0.9 for name in names}
        donors: dict[str, str | None] = {"swapped": rng.choice(["A", "B", None])}
        images = (f"image-{number // 2}.png",)
        rows.append(ThoughtRow(f"row-{number}", images, "A", "A", letters, donors, {}, masses))
    return rows


def evaluation() -> dict[str, Any]:
    """Return a summary.json with everything that it can have."""
    plain, prior = answers(0, 0.7), answers(4, 0.5)
    controls = {
        name: answers(seed, 0.4, control=name) for seed, name in ((1, "blank"), (2, "swapped"))
    }
    wrong = [item for item, guess in zip(plain, prior, strict=True) if not guess.correct]
    turned = [item for item in answers(5, 0.6) if len(item.options) == 4]
    turned = [_turned(item) for item in turned]
    return {
        **summarize(plain),
        "calibration": summarize_confidence(plain),
        "controls": {
            name: summarize_control(plain, rows[5:], {"no other image": 5})
            for name, rows in controls.items()
        },
        "permutations": summarize_permutations(plain, turned, 2),
        "thoughts": summarize_thoughts(plain, "think", len)
        | {
            "teacher_forced": {"applicable": True}
            | summarize_changes(thought_rows(), ["removed", "swapped", "borrowed"], 3)
        },
        "text_priors": {
            "lookup": {"prior": _numbers(prior), "model_where_wrong": _numbers(wrong)},
            "linear_ranker": {"prior": _numbers(plain), "model_where_wrong": None},
        },
        "evaluation": {"model": "tiny", "mode": "think", "limit": None, "seed": 0},
    }


def _turned(item: Prediction) -> Prediction:
    return Prediction(
        **{**item.to_json(), "options": item.options[::-1], "permutation": (3, 2, 1, 0)}
    )


def _numbers(rows: list[Prediction]) -> dict[str, Any]:
    return accuracy_of(
        [item.correct for item in rows],
        [item.chance for item in rows],
        [item.images for item in rows],
    )


def matrix() -> dict[str, Any]:
    """Return a matrix.json with a control and a name of three words."""
    names = ("CT", "MRI", "Other Biological Attributes", "base")
    tests = ("CT", "MRI", "Fundus Photography", "Other Biological Attributes", "Lesion Grading")
    summaries = {}
    for number, (model, test) in enumerate((m, t) for m in names for t in tests):
        plain, blank = answers(number, 0.8), answers(number + 50, 0.3, control="blank")
        controls = {"blank": summarize_control(plain, blank, {})}
        summaries[model, test] = {"overall": summarize(plain)["overall"], "controls": controls}
    found = matrix_json({cell: one["overall"] for cell, one in summaries.items()})
    described = {"model": "tiny", "method": None, "step": 20, "mode": "think"}
    return found | {
        "models": dict.fromkeys(names, described),
        "controls": {"blank": control_json(summaries, "blank")},
    }


def protocol_json() -> dict[str, Any]:
    """Return a protocol.json of three slices, two methods and three seeds, one run missing."""
    rng = random.Random(0)
    slices = protocol.SLICES
    methods = {
        method: {
            seed: protocol.grid(rng, slices if seed == 0 else slices[:2]) for seed in protocol.SEEDS
        }
        for method in protocol.METHODS
    }
    base = {"think": protocol.grid(rng, (protocol.BASE,))}
    found = protocol.AxisResults(base, methods)
    axis = axis_json(protocol.CONFIG, protocol.AXIS, found, resamples=50)
    missing = {"runs": ["modality/CT/think-seed9"], "cells": []}
    result = protocol.result_of(axis, complete=False, missing=missing, few_images=50)
    empty = axis_json(protocol.CONFIG, protocol.AXIS, protocol.AxisResults({}, {}))
    result["axes"]["question_type"] = empty
    return json.loads(json.dumps(result, allow_nan=False))


def run_files(directory: Path) -> None:
    """Write a run's directory of 14 steps and two evaluations, with alarms."""
    config = {
        "method": "grpo",
        "mode": "think",
        "model": "<b>",
        "device": "cpu",
        "dtype": "float32",
    }
    about = {
        "config": config | {"learning_rate": 1e-6, "rewards": ["accuracy", "format"]},
        "total_steps": 20,
        "prompt_template": "{question} <think>",
        "resumed": [{"from_step": 5, "changed": {"max_steps": 20}}],
        "versions": {"torch": "2"},
        "checksums": {"model": "abc"},
    }
    (directory / "run.json").write_text(json.dumps(about))
    steps = [{"step": s, "reward": s / 2, "kl": 3.0, "time/step": 0.5} for s in range(1, 15)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in steps))
    (directory / "eval").mkdir()
    for step, share in ((0, 0.4), (14, 0.7)):
        plain, blank = answers(step, share), answers(step + 1, 0.3)
        summary = summarize(plain) | {
            "blank": summarize(blank),
            "visual_gain": paired_gain(plain, blank),
        }
        (directory / "eval" / f"step-{step:06d}.json").write_text(json.dumps(summary))
    (directory / "checkpoints").mkdir()
    best = {"step": 14, "accuracy": 2 / 3, "checkpoint": "step-000014"}
    (directory / "checkpoints" / "best.json").write_text(json.dumps(best))
    rows = [
        {
            **{"step": step, "id": f"question-{group}", "index": index, "images": []},
            **{"question": "What?", "options": ["a", "b"], "answer": "A", "choice": None},
            "completion": f"<i> {step} {group} {index}",
            "rewards": {"accuracy": float(index == group)},
            **{"reward": float(index == group), "advantage": 0.5, "completion_tokens": 3},
        }
        for step in (1, 14)
        for group in range(3)
        for index in (0, 1)
    ]
    (directory / "rollouts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def curation() -> str:
    """Return the table of a curation of 40 rows."""
    rng = random.Random(1)
    items, rows = [], []
    for number in range(40):
        passes = rng.randrange(5)
        reasons = ("always_wrong",) if passes == 0 else ("always_right",) if passes == 4 else ()
        kind = KINDS[number % 3]
        items.append(
            CuratedRow(
                f"r-{number}",
                kind,
                TYPES[0],
                4,
                passes,
                1,
                "AB"[number % 2],
                "A",
                True,
                not reasons,
                reasons,
            )
        )
        image = (Path(f"{number}.png"),)
        rows.append(
            example(
                "What?",
                ["cyst", f"stone {number % 4}"],
                "AB"[number % 2],
                id=f"r-{number}",
                images=image,
            )
        )
    found = summarize_curation(
        rows, items, drop=("always_right",), prior="lookup", group_size=4, seed=0
    )
    return curation_table(found)


def audits(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two audits: with images, and an earlier one without."""
    train = [
        row(f"Images/{i}.png", "What?", ["cyst", "stone", f"x{i}"], "AB"[i % 2]) for i in range(4)
    ]
    names = ("copy.png", "0.png", "new.png", "missing.png", "a/10_left.jpeg")
    test = [row(f"Images/{name}", "What?", ["stone", "cyst"], "A") for name in names]
    eyes = "Images/Diabetic Retinopathy/0"
    (folder / "Images").mkdir()
    for number in range(4):
        picture(number).save(folder / "Images" / f"{number}.png")
    (folder / "Images" / "copy.png").write_bytes((folder / "Images" / "1.png").read_bytes())
    picture(2).resize((100, 100)).save(folder / "Images" / "new.png")
    train.append(row(f"{eyes}/10_left.jpeg", "Eye?", ["healthy", "ill", "Ill"], "A"))
    test.append(row(f"{eyes}/10_right.jpeg", "Eye?", ["healthy", "ill"], "B"))
    files = {
        "CT_train": [*train, {"image": "Images/c.png"}],
        "CT_test": test,
        "Lesion Grading_train": [*train[:3], *test[1:3]],
        "Lesion Grading_test": test[:4],
    }
    paths = [write_rows(folder / f"{name}.json", rows) for name, rows in files.items()]
    return audit(read_files(paths, folder), folder), audit(read_files(paths[:2], folder))


def split_comparison() -> str:
    """Return the table that a new split prints."""

    def part(seed: int) -> list[Any]:
        rng = random.Random(seed)
        return [
            example("What?", ["cyst", f"stone {i % 3}", "none"], rng.choice("ABC"), id=f"r-{i}")
            for i in range(30)
        ]

    versions = {
        name: {one: (part(seed), part(seed + 1)) for one in ("CT", "MRI")}
        for seed, name in enumerate((comparison.AS_GIVEN, comparison.NEW))
    }
    versions[comparison.AS_GIVEN]["OCT"] = (part(7), part(8))
    return titled_text(comparison.priors_comparison(comparison.compare_priors(versions)))
