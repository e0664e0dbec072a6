"""The 3-D positions of Qwen2-VL's multimodal rotary embedding (arXiv:2409.12191, section 2.1).

Shapes: P prompt tokens, I images.
"""

import torch
from torch import Tensor


def prompt_positions(
    input_ids: Tensor, image_grid_thw: Tensor, image_token_id: int, merge_size: int
) -> Tensor:
    """Return the temporal, height and width position of every token, (3, P) int64.

    A text token has three equal positions, one more than the largest before it. An image starts at
    that position too, and its token in frame t, row h, column w lies t, h and w beyond it: a grid
    of merged patches, merge_size on a side. The next text goes on after the longer side.

    Computed from the ids, never from the model's `rope_deltas`: those are state that transformers
    keeps on the module between calls, right only for the batch it saw last.

    Args:
        input_ids: (P,) with one `image_token_id` per visual token, images in order.
        image_grid_thw: (I, 3) patches of each image along time, height and width.

    >>> ids = torch.tensor([5, 9, 9, 6, 7])
    >>> prompt_positions(ids, torch.tensor([[1, 2, 4]]), image_token_id=9, merge_size=2)
    tensor([[0, 1, 1, 3, 4],
            [0, 1, 1, 3, 4],
            [0, 1, 2, 3, 4]])
    """
    # An image takes fewer positions than it has tokens, so both are counted.
    image_token = (input_ids == image_token_id).tolist()
    pieces, token, position = [], 0, 0
    for time, height, width in image_grid_thw.tolist():
        text_length = image_token.index(True, token) - token
        pieces.append(_text(position, text_length))
        token, position = token + text_length, position + text_length
        rows, columns = height // merge_size, width // merge_size
        pieces.append(_image(position, time, rows, columns))
        # The text after an image starts beyond its longer side, so no two share a position.
        token, position = token + time * rows * columns, position + max(rows, columns)
    pieces.append(_text(position, len(image_token) - token))
    return torch.cat(pieces, dim=1)


def _text(start: int, length: int) -> Tensor:
    """Return (3, length)."""
    return torch.arange(start, start + length).expand(3, length)


def _image(start: int, time: int, rows: int, columns: int) -> Tensor:
    """Return (3, time * rows * columns), the last axis fastest, as the vision tower orders them."""
    grid = torch.meshgrid(
        torch.arange(time), torch.arange(rows), torch.arange(columns), indexing="ij"
    )
    return torch.stack(grid).reshape(3, -1) + start
