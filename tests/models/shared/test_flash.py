"""Where torch's varlen flash is taken; what its operators are given: test_varlen.py."""

import pytest
import torch

from models.shared import flash
from models.shared.flash import ATEN


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "capability", "found"),
    [
        ("cuda", torch.bfloat16, 128, (9, 0), True),
        ("cuda", torch.float16, 64, (8, 0), True),
        ("cuda", torch.float32, 128, (9, 0), False),
        ("cuda", torch.bfloat16, 128, (7, 5), False),
        ("cuda", torch.bfloat16, 60, (9, 0), False),
        ("cuda", torch.bfloat16, 256, (9, 0), False),
        ("cpu", torch.bfloat16, 128, (9, 0), False),
    ],
)
def test_where_it_is_taken(monkeypatch, device, dtype, head_size, capability, found):
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    calls = flash.flash_for(torch.device(device), dtype, head_size)
    assert (calls is ATEN) is found and (calls is None) is not found
    monkeypatch.setattr(torch.backends.cuda, "flash_sdp_enabled", lambda: False)
    assert flash.flash_for(torch.device(device), dtype, head_size) is None
