"""Tensors in files of a bounded size: cut by rows, and read by rows, whoever wrote them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import tensor_file
from models.checkpoint.parts import Piece, entries_of, in_parts, merged, part_names
from models.checkpoint.saved_tensors import fill, saved_tensors
from models.checkpoint.tensor_file import write_tensor_file

MOST = 100  # bytes of a part, in place of 2 GB

TENSORS = {
    "embedding": torch.arange(70.0).reshape(14, 5),  # 20 bytes a row, 280 in all
    "bias": torch.arange(3.0),
    "step": torch.tensor(7.0),
    "wide": torch.arange(60.0).reshape(2, 30),  # 120 bytes a row
    "half": torch.arange(12).reshape(4, 3).to(torch.bfloat16),
    "codes": torch.arange(9, dtype=torch.uint8),
    "last": torch.arange(24.0).reshape(6, 2, 2),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(tensor_file, "PART", MOST)


def rows_of(tensor: torch.Tensor, rank: int, size: int) -> tuple[int, torch.Tensor]:
    """Return the rows of a process as FSDP2 gives them out: as torch.chunk cuts."""
    each = -(-len(tensor) // size)
    first = min(rank * each, len(tensor))
    return first, tensor[first : first + each]


def pieces_of(rank: int, size: int) -> list[Piece]:
    found = []
    for name, tensor in TENSORS.items():
        first, values = (0, tensor) if tensor.dim() == 0 else rows_of(tensor, rank, size)
        if (tensor.dim() and len(values)) or (not tensor.dim() and rank == 0):
            found.append(Piece(name, first, tuple(tensor.shape), values))
    return found


def write(folder, size: int) -> None:
    """Write TENSORS as so many processes would."""
    parts = [in_parts(pieces_of(rank, size)) for rank in range(size)]
    total, before, entries = sum(map(len, parts)), 0, []
    for own in parts:
        names = part_names("optimizer", before, len(own), total)
        before += len(own)
        named = dict(zip(names, own, strict=True))
        for name, pieces in named.items():
            write_tensor_file(folder / name, {one.name: one.values for one in pieces})
        entries.append(entries_of(named))
    text = json.dumps(merged(entries, 1))
    (folder / "optimizer.safetensors.index.json").write_text(text)


def test_no_part_is_larger_than_it_may_be_but_one_of_a_single_row():
    parts = in_parts(pieces_of(0, 1))
    for part in parts:
        size = sum(piece.values.nbytes for piece in part)
        assert size <= MOST or (len(part) == 1 and part[0].rows == 1)
        assert len({piece.name for piece in part}) == len(part), "a name stands once in a file"
    assert len(parts) < len(TENSORS) + 4, "small ones share a file"
    for name, tensor in TENSORS.items():
        pieces = [piece for part in parts for piece in part if piece.name == name]
        assert [piece.first for piece in pieces] == sorted(piece.first for piece in pieces)
        values = pieces[0].values if not tensor.dim() else torch.cat([p.values for p in pieces])
        assert torch.equal(values, tensor), name


def test_a_cut_tensor_is_no_copy():
    [embedding] = [piece for piece in pieces_of(0, 1) if piece.name == "embedding"]
    start = embedding.values.data_ptr()
    places = [piece.values.data_ptr() - start for [piece] in in_parts([embedding])]
    assert places == [0, MOST, 2 * MOST]


def test_the_embedding_of_a_7b_model_is_cut_in_two(monkeypatch):
    monkeypatch.undo()  # parts of 2 GB
    embedding = torch.empty(152_064, 3584, device="meta")  # 2.18 GB in float32
    norm = torch.empty(3584, device="meta")
    pieces = [Piece(name, 0, (152_064, 3584), embedding) for name in ("master/e", "exp_avg/e")]
    parts = in_parts([*pieces, Piece("master/n", 0, (3584,), norm)])
    rows = [[(piece.name, piece.first, piece.rows) for piece in part] for part in parts]
    assert rows == [
        [("master/e", 0, 139_508)],
        [("master/e", 139_508, 12_556)],
        [("exp_avg/e", 0, 139_508)],
        [("exp_avg/e", 139_508, 12_556), ("master/n", 0, 3584)],
    ]


@pytest.mark.parametrize("wrote", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("reads", [1, 2, 3, 4, 16])
def test_what_some_processes_wrote_any_number_of_them_reads(tmp_path, wrote, reads):
    write(tmp_path, wrote)
    with saved_tensors(tmp_path / "optimizer.safetensors") as saved:
        assert saved.keys() == TENSORS.keys()
        for name, tensor in TENSORS.items():
            assert (saved[name].shape, saved[name].dtype) == (tensor.shape, tensor.dtype)
            for rank in range(reads) if tensor.dim() else ():
                first, own = rows_of(tensor, rank, reads)
                if len(own):
                    assert torch.equal(saved[name][first : first + len(own)], own), (name, rank)
            assert torch.equal(saved[name][...], tensor)


def test_a_tensor_is_filled_slice_by_slice(tmp_path, monkeypatch):
    write(tmp_path, 3)
    monkeypatch.setattr("models.checkpoint.saved_tensors.SLICE", 48)
    with saved_tensors(tmp_path / "optimizer.safetensors") as saved:
        for name, tensor in TENSORS.items():
            found = torch.zeros_like(tensor)
            fill(found, saved[name])
            assert torch.equal(found, tensor), name


def test_one_file_is_read_as_ever(tmp_path):
    save_file(TENSORS, tmp_path / "optimizer.safetensors")
    with saved_tensors(tmp_path / "optimizer.safetensors") as saved:
        assert all(torch.equal(saved[name][...], TENSORS[name]) for name in TENSORS)


def gone(folder, _index):
    next(iter(sorted(folder.glob("*-00002-of-*")))).unlink()


def cut(folder, _index):
    file = next(iter(sorted(folder.glob("*-00002-of-*"))))
    file.write_bytes(file.read_bytes()[:-1])


def other_rows(folder, _index):
    file = next(iter(sorted(folder.glob("*-00002-of-*"))))
    tensors = load_file(file)
    name = next(name for name in tensors if tensors[name].dim())
    save_file(tensors | {name: tensors[name][1:].clone()}, file)


def a_gap(_folder, index):
    index["tensors"]["embedding"]["pieces"].pop(1)


def the_last_gone(_folder, index):
    index["tensors"]["embedding"]["pieces"].pop()


def twice(_folder, index):
    index["tensors"]["embedding"]["pieces"] *= 2


def outside(_folder, index):
    index["tensors"]["embedding"]["pieces"][0][0] = "../optimizer-00001-of-00009.safetensors"


def no_pieces(_folder, index):
    del index["tensors"]["bias"]["pieces"]


def other_dtype(_folder, index):
    index["tensors"]["bias"]["dtype"] = "F64"


def unknown_dtype(_folder, index):
    index["tensors"]["bias"]["dtype"] = "F7"


def a_list(_folder, index):
    index["tensors"] = []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (gone, "optimizer-00002-of-.* cannot be read"),
        (cut, "optimizer-00002-of-.* cannot be read"),
        (other_rows, "index.json does not fit its files .* in optimizer-00002"),
        (a_gap, "rows from 5 of embedding are missing, or there twice"),
        (the_last_gone, "of embedding there are 10 rows in place of 14"),
        (twice, "rows from 0 of embedding are missing, or there twice"),
        (outside, "no file beside it"),
        (no_pieces, "index.json is no index of tensors"),
        (other_dtype, r"bias in .* is not \(3,\) in torch.float64"),
        (unknown_dtype, "dtype 'F7' is unknown"),
        (a_list, "index.json is no index of tensors"),
    ],
)
def test_parts_that_do_not_fit_together_are_named(tmp_path, damage, message):
    write(tmp_path, 1)
    file = tmp_path / "optimizer.safetensors.index.json"
    index = json.loads(file.read_text())
    damage(tmp_path, index)
    file.write_text(json.dumps(index))
    with (
        pytest.raises(ValueError, match=message),
        saved_tensors(tmp_path / "optimizer.safetensors"),
    ):
        pass
