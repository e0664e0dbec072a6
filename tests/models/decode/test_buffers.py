"""Where rows and what they share of a prompt find each other in the buffers."""

from models.decode.buffers import Bucket, grid_indices


def test_grid_indices_by_hand():
    # rows 0, 1 | 2 of prompts 1 and 0, two key heads, three cells, a padding row and prompt
    bucket = Bucket(rows=4, slots=4, prompts=3, prompt_slots=4, cells=3)
    cell_rows, row_cells = grid_indices([1, 1, 0], bucket, kv_heads=2)
    # (row, head) is numbered row * 2 + head; cells without a row show row 0
    assert cell_rows.view(3, 2, 3).tolist() == [
        [[4, 0, 0], [5, 1, 1]],
        [[0, 2, 0], [1, 3, 1]],
        [[0, 0, 0], [1, 1, 1]],
    ]
    # (prompt, head, cell) is numbered (prompt * 2 + head) * 3 + cell
    assert row_cells.view(4, 2).tolist() == [[6, 9], [7, 10], [0, 3], [6, 9]]
