"""A plain tensor's rows all lie here; a sharded one's are in test_two_processes.py."""

import torch

from models.sharding.rows import local_rows


def test_all_rows_of_a_plain_tensor_lie_here_and_writing_there_writes_the_tensor():
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    first, rows = local_rows(weight)
    assert first == 0 and rows.shape == (3, 2) and not rows.requires_grad
    rows.fill_(1)
    assert bool((weight == 1).all())


def test_a_number_has_one_place():
    assert local_rows(torch.tensor(3.0)) == (0, torch.tensor(3.0))
