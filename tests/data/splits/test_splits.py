"""Splits: laws of the assignment, and the command's files read back independently."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import VQAExample, load_examples
from data.audit.hashes import near_pairs
from data.splits.__main__ import main
from data.splits.assign import assign
from data.splits.comparison import AS_GIVEN, NEW, ORIGINAL, mean_priors, priors_comparison
from data.splits.kept_together import Pictures
from data.splits.pool import PoolRow
from data.splits.proof import prove
from data.splits.published import rewritten_row
from tests.data.audit.test_hashes import picture
from tests.data.audit_rows import example, row, write_rows


def test_an_assignment_worked_by_hand():
    """Share 1/2, one stratum, groups of 4, 3, 2 and 1 rows, largest first.

    The 4 tie (2 rows off either way) and go where the seed says; the 3 go to the other part
    (excess 1/2 instead of 7/2), the 2 there too (1/2 instead of 3/2), and the 1 to the part of
    the 4: 5 to 5.
    """
    groups = [[0, 1, 2, 3], [4, 5, 6], [7, 8], [9]]
    keys = [f"{n}" for n in range(10)]
    parts = set()
    for seed in range(20):
        found = assign(groups, [["all"]] * 10, keys, test_share=0.5, seed=seed)
        assert found[0] == found[9] != found[4] == found[7]
        parts.add(found[0])
    assert parts == {True, False}


sizes = st.lists(st.integers(1, 6), min_size=30, max_size=120)


@settings(max_examples=25, deadline=None)
@given(sizes, st.sampled_from([0.1, 0.2, 0.35, 0.5]), st.integers(0, 9), st.randoms())
def test_groups_stay_whole_and_the_share_is_kept(sizes, share, seed, random):
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    groups = [list(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(ends[-1])]
    strata = [["all", ("half", n % 2)] for n in range(ends[-1])]
    found = assign(groups, strata, keys, test_share=share, seed=seed)
    assert all(len({found[n] for n in group}) == 1 for group in groups)
    assert abs(sum(found) - share * len(found)) <= 3  # small groups come last and even it out
    order = list(range(len(found)))
    random.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    shuffled = [[place[n] for n in group] for group in groups]
    for group in (shuffled, *shuffled):
        random.shuffle(group)
    again = assign(
        shuffled, [strata[n] for n in order], [keys[n] for n in order], test_share=share, seed=seed
    )
    assert [again[place[n]] for n in range(len(found))] == found


def test_every_stratum_has_its_share_from_the_first_rows_on():
    strata = [["all", ("s", n % 7), ("t", n % 7, n % 3)] for n in range(2_000)]
    keys = [f"{n:04}" for n in range(2_000)]
    found = assign([[n] for n in range(2_000)], strata, keys, test_share=0.2, seed=0)
    counts = Counter(s for its in strata for s in its)
    test = Counter(s for its, placed in zip(strata, found, strict=True) if placed for s in its)
    assert all(abs(test[s] - 0.2 * counts[s]) <= 1.5 for s in counts)


def test_near_pairs_are_those_of_all_pairs():
    hashes = [hash_ * 0x9E3779B97F4A7C15 % 2**64 for hash_ in range(40)]
    hashes += [hashes[n] ^ (1 << n) ^ (1 << 2 * n) for n in range(30)] + [hashes[3] ^ 31]
    slow = {tuple(sorted((a, b))) for a in hashes for b in hashes if 0 < (a ^ b).bit_count() <= 4}
    assert set(near_pairs(hashes, 4)) == slow and len(slow) >= 29


EYES = "Images/Diabetic Retinopathy/0"


def eyes(first, count, image=lambda n: f"{EYES}/{n // 2}_{('left', 'right')[n % 2]}.jpeg"):
    return [
        row(image(n), f"Which disease, {n}?", [("Mild", "Severe", "None")[n % 3], "x"], "A")
        for n in range(first, first + count)
    ]


@pytest.fixture
def files(tmp_path):
    train = write_rows(tmp_path / "Fundus_train.json", eyes(0, 60) + eyes(0, 2))
    test = write_rows(tmp_path / "Fundus_test.json", [*eyes(50, 30), {"image": "no row"}])
    return [str(train), str(test)]


def read(folder, part, slice_name="Fundus"):
    return json.loads((Path(folder) / f"{slice_name}_{part}.json").read_text())


def test_every_row_is_written_once_or_counted(files, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*files, "--output-dir", str(out)]) == 0
    train, test = read(out, "train"), read(out, "test")
    written = [(r["image"], r["problem"], r["solution"]) for r in train + test]
    assert len(written) == len(set(written)) == 80
    assert set(written) == {(r["image"], r["problem"], r["solution"]) for r in eyes(0, 80)}
    assert not {r["image"] for r in train} & {r["image"] for r in test}
    assert len(test) == 16
    report = json.loads((out / "splits.json").read_text())
    assert report["rows"] == {
        **{"read": 93, "train": 64, "test": 16},
        "dropped": {
            "exact copy of another row": {"Fundus": 12},
            "no reading in any published format": {"Fundus": 1},
        },
    }
    for folder, kind in ((out, "outputs"), (tmp_path, "inputs")):
        for name, entry in report[kind].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
    assert "64 to train, 16 to test" in capsys.readouterr().out


def test_fewer_options_and_the_chance_they_leave_are_said(tmp_path, capsys):
    # two answers only: each row keeps the right one and the one other that is ever right
    rows = [
        {
            "image": f"Images/set/{i}.png",
            "problem": "Which organ is shown? A)lung, B)liver, C)heart, D)kidney",
            "solution": f"<answer> {'AB'[i % 2]} </answer>",
        }
        for i in range(20)
    ]
    (tmp_path / "Fundus_train.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    given = [str(tmp_path / "Fundus_train.json"), "--output-dir", str(out), "--allow-unpaired"]
    assert main([*given, "--image-needed"]) == 0
    assert (
        "20 rows have fewer options than published: guessing is right in 50.0 % of the rows, with"
        " their published options in 25.0 %" in " ".join(capsys.readouterr().out.split())
    )


def test_patients_are_disjoint_where_asked(files, tmp_path):
    def shared(folder):
        parts = [
            {r["image"].split("/")[-1].split("_")[0] for r in read(folder, part)}
            for part in ("train", "test")
        ]
        return len(parts[0] & parts[1])

    main([*files, "--output-dir", str(tmp_path / "image")])
    main([*files, "--output-dir", str(tmp_path / "patient"), "--disjoint", "patient"])
    assert shared(tmp_path / "image") > 0 == shared(tmp_path / "patient")
    report = json.loads((tmp_path / "image" / "splits.json").read_text())
    assert report["in_both_parts"]["patients_in_both"] == shared(tmp_path / "image")


def test_neither_order_of_files_nor_process_changes_a_byte(files, tmp_path):
    for name, order in (("one", files), ("two", files[::-1])):
        main([*order, "--output-dir", str(tmp_path / name), "--image-needed"])
    main([*files, "--output-dir", str(tmp_path / "three"), "--image-needed", "--seed", "1"])
    one, two, three = (
        (tmp_path / name / "Fundus_test.json").read_bytes() for name in ("one", "two", "three")
    )
    assert one == two != three
    first, second = ((tmp_path / name / "splits.json").read_text() for name in ("one", "two"))
    assert first == second


def test_image_needed_rows_read_back_and_name_their_origin(files, tmp_path):
    main([*files, "--output-dir", str(tmp_path / "out"), "--image-needed", "--disjoint", "patient"])
    rows = read(tmp_path / "out", "train")
    examples = load_examples(tmp_path / "out" / "Fundus_train.json", tmp_path)
    origin = {f"Fundus_train-{n}": r for n, r in enumerate(eyes(0, 60))}
    origin |= {f"Fundus_test-{n}": r for n, r in enumerate(eyes(50, 30))}
    for published, read_back in zip(rows, examples, strict=True):
        old = origin[published["original_id"]]
        assert published["image"] == old["image"]
        assert old["problem"].split("A)")[1].split(",")[0] == read_back.answer_text
        assert set(read_back.options) < {"Mild", "Severe", "None"} and len(read_back.options) == 2
        assert read_back.modality == "Fundus"
    report = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert list(report["text_priors"]["Fundus"]) == ["as given", "original", "written"]


def test_omnimedvqa_rows_keep_their_labels(tmp_path):
    rows = [
        {
            **{"dataset": "A", "question_id": f"A_{n}", "question_type": "lesion grading"},
            **{"question": "Which grade?", "gt_answer": "two", "image_path": f"Images/A/{n}.png"},
            **{"option_A": "one", "option_B": "two, C)or so" if n == 0 else "two"},
            "modality_type": "CT(Computed Tomography)",
        }
        | ({"gt_answer": "one"} if n % 2 == 0 else {})
        for n in range(10)
    ]
    file = write_rows(tmp_path / "A.json", rows)
    assert main([str(file), "--output-dir", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert list(report["rows"]["dropped"].values()) == [{"A": 1}]  # in line it would be two options
    examples = load_examples(tmp_path / "out" / "A_train.json", tmp_path)
    assert {(e.modality, e.question_type, e.dataset) for e in examples} == {
        ("CT", "Lesion Grading", "A")
    }
    assert {tuple(r) for r in read(tmp_path / "out", "train", "A")} == {
        (
            *("image", "problem", "solution", "original_id"),
            *("dataset", "question_id", "question_type", "modality_type"),
        )
    }


def test_questions_in_words_alone_are_dealt_out_with_an_image_root_and_without(tmp_path):
    rows = [
        row("", f"Is organ {n} large?", ["yes", "no"], "AB"[n % 2]) | {"image": None}
        for n in range(10)
    ]
    file = str(write_rows(tmp_path / "words.json", rows))
    for folder, flags in (("a", []), ("b", ["--image-root", str(tmp_path)])):
        assert main([file, *flags, "--output-dir", str(tmp_path / folder)]) == 0
        written = [tmp_path / folder / f"words_{part}.json" for part in ("train", "test")]
        parts = [load_examples(one, tmp_path) for one in written]
        assert [len(part) for part in parts] == [8, 2]
        assert not any(example.images for part in parts for example in part)


def test_equal_and_near_pictures_stay_together(tmp_path):
    names = [f"Images/A/{n}.png" for n in range(20)]
    for n, name in enumerate(names):  # pairs: one picture, its copy in another size
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(n // 2).resize((64 + 32 * (n % 2),) * 2).save(tmp_path / name)
    file = write_rows(tmp_path / "CT_test.json", eyes(0, 20, lambda n: names[n]))
    arguments = [str(file), "--test-share", "0.4", "--image-root", str(tmp_path)]
    assert main([*arguments, "--output-dir", str(tmp_path / "out")]) == 0
    parts = [
        {int(Path(r["image"]).stem) // 2 for r in read(tmp_path / "out", part, "CT")}
        for part in ("train", "test")
    ]
    assert not parts[0] & parts[1]
    assert parts[1]


def test_equal_files_stay_together_though_they_are_no_pictures(tmp_path, capsys):
    for n in range(20):
        file = tmp_path / f"Images/A/{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"broken" * (1 + n // 4))
    names = [f"Images/A/{n}.png" for n in range(20)]
    file = write_rows(tmp_path / "CT_test.json", eyes(0, 20, lambda n: names[n]))
    arguments = [str(file), "--image-root", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    assert main(arguments) == 0
    test = {int(Path(r["image"]).stem) for r in read(tmp_path / "out", "test", "CT")}
    assert len(test) == 4 and len({n // 4 for n in test}) == 1
    assert "0 images are missing, 20 broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere_test.json"], "does not exist"),
        (["FILES", "--test-share", "1"], "--test-share 1.0 must be above 0 and below 1"),
        (["FILES", "--test-share", "nan"], "must be above 0"),
        (["FILES", "--near-distance", "16"], "0 to 15"),
        (["FILES", "--image-root", "nowhere"], "is not a folder"),
        (["FILES", "--image-root", "ROOT"], "none of the 80 images lies under"),
        (["FILES", "CT_train.json"], "CT_train.json has no partner: add CT_test.json"),
        (["FILES", "Lesion Grading_train.json"], "of two axes"),
        (["CT_train.json", "--disjoint", "patient"], "6 of 6 rows are without one"),
        (["ONE_train.json"], "leave a part empty"),
        (["YES_test.json", "--image-needed"], "none of the 1 rows is left"),
        (["FILES", "--output-dir", "ROOT"], "name another --output-dir"),
    ],
)
def test_what_the_user_can_mend_is_one_message(arguments, words, files, tmp_path, capsys):
    for name in ("CT_train", "Lesion Grading_train"):
        write_rows(tmp_path / f"{name}.json", eyes(0, 6, lambda n: f"Images/A/{n}.png"))
    write_rows(tmp_path / "ONE_train.json", eyes(0, 6, lambda _: "Images/A/0.png"))
    write_rows(tmp_path / "YES_test.json", [row("a.png", "Is it ill?", ["Yes", "No"], "A")])
    given = []
    for argument in arguments:
        if argument.endswith(".json"):
            argument = str(tmp_path / argument)
        given += files if argument == "FILES" else [argument.replace("ROOT", str(tmp_path))]
    before = sorted(tmp_path.iterdir())
    out = [] if "--output-dir" in given else ["--output-dir", str(tmp_path / "out")]
    assert main([*given, *out]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_unpaired_files_can_be_allowed(files, tmp_path):
    write_rows(tmp_path / "CT_train.json", eyes(0, 20, lambda n: f"Images/A/{n}.png"))
    arguments = [*files, str(tmp_path / "CT_train.json"), "--allow-unpaired"]
    assert main([*arguments, "--output-dir", str(tmp_path / "out")]) == 0
    assert len(read(tmp_path / "out", "test", "CT")) == 4


def test_the_proof_fails_where_the_parts_share_an_image(tmp_path):
    one, two = eyes(0, 4), eyes(3, 4)
    for part, rows in (("train", one), ("test", two)):
        write_rows(tmp_path / f"Fundus_{part}.json", rows)
    meant = {
        name: load_examples(tmp_path / name, "images")
        for name in ("Fundus_train.json", "Fundus_test.json")
    }
    with pytest.raises(AssertionError, match="'paths_in_both': 1"):
        prove(tmp_path, meant, Pictures(), Path("images"), patient=False)
    meant["Fundus_test.json"] = meant["Fundus_test.json"][1:]
    with pytest.raises(AssertionError, match="reads otherwise"):
        prove(tmp_path, meant, Pictures(), Path("images"), patient=False)


@pytest.mark.slow
def test_the_published_files(shared, tmp_path):
    """A slice of the real files: the lookup falls from all of them to little more than chance."""
    folder = shared / "omnimedvqa_splits"
    name = "Microscopy Images"
    given = [str(folder / part / f"{name}_{part}.json") for part in ("train", "test")]
    assert main([*given, "--output-dir", str(tmp_path / "out"), "--image-needed"]) == 0
    report = json.loads((tmp_path / "out" / "splits.json").read_text())
    rows = report["rows"]
    dropped = sum(count for slices in rows["dropped"].values() for count in slices.values())
    assert rows["train"] + rows["test"] + dropped == rows["read"] == 5_680
    assert report["test_share"] == pytest.approx(0.2, abs=0.001)
    for slices in report["text_priors"].values():
        assert slices["original"]["lookup"] > 0.99
        assert slices["written"]["lookup"] < slices["written"]["chance"] + 0.15


def test_real_images_stay_in_one_part(shared, tmp_path):
    mini = shared / "real_mini"
    given = [str(mini / f"Microscopy_{part}.json") for part in ("train", "test")]
    out = tmp_path / "out"
    assert main([*given, "--image-root", str(mini), "--output-dir", str(out)]) == 0
    train, test = (
        {
            hashlib.sha256((mini / r["image"]).read_bytes()).digest()
            for r in read(out, part, "Microscopy")
        }
        for part in ("train", "test")
    )
    assert not train & test and len(train) + len(test) == 60


def test_the_mean_is_over_slices_that_have_every_version():
    def priors(n: int, lookup: float) -> dict[str, float]:
        return {"n": n, "chance": 0.25, "lookup": lookup, "linear ranker": 0.5}

    found = {
        "CT": {AS_GIVEN: priors(10, 0.9), NEW: priors(20, 0.3)},
        "MRI": {AS_GIVEN: priors(10, 0.5), NEW: priors(20, 0.2)},
        "OCT": {NEW: priors(1000, 1.0)},  # its file was not given with both parts
    }
    table = priors_comparison(found)
    assert [row[0] for row in table.rows] == ["CT", "MRI", "OCT", "mean of 2"]
    assert table.rows[2][1:5] == ["-", "-", "-", "-"]
    assert table.rows[3] == ["mean of 2", "", "25.0", "70.0", "50.0", "", "25.0", "25.0", "50.0"]


def test_without_a_slice_that_has_every_version_there_is_no_mean():
    one = {"n": 1, "chance": 0.5, "lookup": 1.0, "linear ranker": 1.0}
    found = {"CT": {AS_GIVEN: one}, "MRI": {ORIGINAL: one}}
    assert mean_priors(found) == {}
    table = priors_comparison(found)
    assert [row[0] for row in table.rows] == ["CT", "MRI"]
    assert "original: the written rows with their published text" in table.note


@pytest.mark.parametrize(
    ("question", "options", "stays"),
    [
        ("Is vitamin A) low?", ["yes", "no"], True),
        ("What?", ["one", "two, B)or so"], False),  # in line its letters would be A, B, B
        ("What?", ["a cat", ""], False),
    ],
)
def test_a_row_that_would_read_otherwise_in_line_is_not_written(question, options, stays):
    published = {"image": "a.png"}
    given = example(question, options, "A")
    pool_row = PoolRow(replace(given, id="other"), published, "CT", "key")
    assert (rewritten_row(pool_row, given) is not None) is stays


def test_slices_that_lie_whole_in_one_part_compare_no_priors(tmp_path, capsys):
    # an image each, so a group each: nothing of CT to score, and of MRI nothing to fit
    files = [
        write_rows(tmp_path / f"{name}.json", eyes(0, rows, lambda _n, name=name: f"{name}.png"))
        for name, rows in (("CT", 4), ("MRI", 1))
    ]
    flags = ["--test-share", "0.5", "--output-dir", str(tmp_path / "out")]
    assert main([*map(str, files), *flags]) == 0
    assert "Text priors" not in capsys.readouterr().out


def test_patients_named_in_rows_stay_together_and_an_official_split_is_said(tmp_path, capsys):
    rows = [
        {"image_path": f"{n}.png", "question": f"Is there a line {n % 7}?",
         "answer": ["yes", "no"][n % 2], "subject_id": f"p{n // 3}", "split": "train"}
        for n in range(60)
    ]  # fmt: skip
    path, out = write_rows(tmp_path / "mimic.json", rows), tmp_path / "out"
    assert main([str(path), "--disjoint", "patient", "--output-dir", str(out)]) == 0
    assert "60 rows are of a part of their source's own split (train 60)" in capsys.readouterr().out
    report = json.loads((out / "splits.json").read_text())
    assert report["official_split"] == {"train": 60} and report["rows_with_patient"] == 60
    parts = [json.loads((out / f"mimic_{part}.json").read_text()) for part in ("train", "test")]
    assert len(parts[0]) + len(parts[1]) == 60 and report["groups"]["count"] == 20
    patients = [{row["subject_id"] for row in part} for part in parts]
    assert patients[0].isdisjoint(patients[1])


def test_a_row_of_another_format_is_written_as_it_was_published():
    raw = {"image_path": "a.png", "question": "Is it?", "answer": ["no"], "subject_id": "p1"}
    open_row = VQAExample("m-0", (), "Is it?", ("Yes", "No"), "B", form="yes_no")
    pooled = PoolRow(open_row, raw, "m", "key")
    assert rewritten_row(pooled, open_row) == raw | {"original_id": "m-0"}
    named = PoolRow(open_row, raw | {"original_id": "x-7"}, "m", "key")
    assert rewritten_row(named, open_row) == named.raw
    choice = example("Which?", ["one", "two"], "B")
    no_image = PoolRow(replace(choice, id="m-1"), {"Figure_path": "a.png"}, "m", "key")
    assert rewritten_row(no_image, choice) is None  # written anew it would lose its image
